//! Data sets whose classes may not be those that the run file takes them for: both can be meant, and then nothing is wrong.
//! In words for people.

use fedstill_schemas::data::Labels;
use fedstill_schemas::pipeline::{On, Pipeline, Target};
use fedstill_schemas::resolved::ResolvedRun;

/// A line for public labels that may not be the private ones, and one for a test set that lacks private classes. The runs of
/// a file differ in neither.
pub(super) fn warnings(run: &ResolvedRun, pipelines: &[&Pipeline]) -> Vec<String> {
    let private = run.private.classes;
    let mut terms = pipelines
        .iter()
        .flat_map(|pipeline| pipeline.all_steps())
        .flat_map(|step| &step.terms);
    // Where nobody learns public labels, nothing follows from what they mean.
    let learned = terms.any(|term| term.on != On::Private && term.target == Target::Labels);
    let public = run.public.as_ref().map(|set| set.classes);
    let public = public.filter(|classes| learned && run.labels == Labels::Shared && *classes != private);
    let public = public.map(|classes| {
        format!(
            "warning: labels = \"shared\" takes class 0 of the public rows for class 0 of the private ones, and so on, and the \
             public set has {classes} classes, and the private one has {private}; where they are other things, \
             as digits and letters, write labels = \"union\""
        )
    });
    let test = run.test.classes;
    let test = (test < private).then(|| {
        format!(
            "warning: the test set has {test} classes, and the private rows have {private}: nobody is scored on the others, \
             and where its labels are other things than the private ones, as digits and letters, scores mean nothing"
        )
    });
    public.into_iter().chain(test).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms;
    use crate::check::tests::run;

    /// What is said of so many private, public and test classes.
    fn said(classes: [u32; 3], labels: Labels, pipeline: &str) -> Vec<String> {
        let mut run = run();
        let mut public = run.private.clone();
        [run.private.classes, public.classes, run.test.classes] = classes;
        run.public = Some(public);
        run.labels = labels;
        let all = algorithms::all();
        let pipelines: Vec<&Pipeline> = all.iter().filter(|other| other.name == pipeline).collect();
        assert_eq!(pipelines.len(), 1, "{pipeline}");
        warnings(&run, &pipelines)
    }

    #[test]
    fn shared_labels_of_sets_with_other_numbers_of_classes_are_doubted_where_they_are_learned() {
        for public in [10, 40] {
            let lines = said([26, public, 26], Labels::Shared, "fedmd");
            assert_eq!(lines.len(), 1, "{lines:?}");
            let counts = format!("the public set has {public} classes, and the private one has 26");
            assert!(
                lines[0].starts_with("warning: labels = \"shared\"") && lines[0].contains(&counts),
                "{lines:?}"
            );
        }
        assert!(said([26, 26, 26], Labels::Shared, "fedmd").is_empty());
        assert!(said([26, 10, 26], Labels::Union, "fedmd").is_empty());
        // FedDF distils on public rows, and looks at no label of theirs.
        assert!(said([26, 10, 26], Labels::Shared, "feddf").is_empty());
    }

    #[test]
    fn a_test_set_that_lacks_private_classes_is_doubted() {
        let lines = said([26, 26, 10], Labels::Shared, "fedavg");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("warning: the test set has 10 classes, and the private rows have 26"),
            "{lines:?}"
        );
    }
}
