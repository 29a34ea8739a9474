//! What each method is compared with.

use super::{NoComparison, find};
use crate::algorithms;

/// What is taken where nobody says otherwise, and it is there: the same steps without any exchange.
const STANDALONE: &str = "standalone";

/// The baseline of each method.
#[derive(Debug, PartialEq)]
pub(super) struct Baselines {
    /// What it is called.
    pub(super) name: String,
    /// By the methods' index the index of its baseline, which can be itself; `None` where its run name has none.
    pub(super) of: Vec<Option<usize>>,
    /// The run names that have none, in the order of the methods.
    pub(super) lacking: Vec<String>,
}

/// Chooses for methods, at least one, each a run name and a pipeline. A pipeline is the baseline of every method: the one of
/// its own run name and no other, which may have other data and settings. `name/pipeline` is the baseline of all. Where
/// nothing is asked for, it is the pipeline `standalone`, or else the first one in the order of `fedstill pipelines`, others
/// after those by name: whatever order the methods are in, which a run file and a run name do not share.
///
/// # Errors
/// A baseline that is not there.
pub(super) fn choose(methods: &[(&str, &str)], asked: Option<&str>) -> Result<Baselines, NoComparison> {
    let label = |(name, pipeline): &(&str, &str)| format!("{name}/{pipeline}");
    let is_pipeline = |asked: &str| methods.iter().any(|(_, pipeline)| *pipeline == asked);
    let pipeline = asked.unwrap_or_else(|| default(methods));
    if is_pipeline(pipeline) {
        let beside = |name: &str| methods.iter().position(|other| *other == (name, pipeline));
        let of: Vec<Option<usize>> = methods.iter().map(|(name, _)| beside(name)).collect();
        let mut lacking: Vec<String> = Vec::new();
        for ((name, _), own) in methods.iter().zip(&of) {
            if own.is_none() && !lacking.iter().any(|known| known == name) {
                lacking.push((*name).to_owned());
            }
        }
        return Ok(Baselines {
            name: pipeline.to_owned(),
            of,
            lacking,
        });
    }
    let labels: Vec<String> = methods.iter().map(label).collect();
    let at = labels.iter().position(|label| label == pipeline).ok_or_else(|| {
        let pipelines = methods.iter().map(|(_, pipeline)| *pipeline);
        let fix = find::suggestion(pipeline, pipelines.chain(labels.iter().map(String::as_str)));
        NoComparison::Baseline {
            asked: pipeline.to_owned(),
            fix,
        }
    })?;
    let several = methods.iter().any(|(name, _)| *name != methods[0].0);
    Ok(Baselines {
        name: if several {
            labels[at].clone()
        } else {
            methods[at].1.to_owned()
        },
        of: vec![Some(at); methods.len()],
        lacking: Vec::new(),
    })
}

/// The pipeline that methods are compared with where nobody says otherwise: one of theirs, if there are any.
fn default<'a>(methods: &[(&'a str, &'a str)]) -> &'a str {
    let rank = |pipeline: &str| (pipeline != STANDALONE, algorithms::place(pipeline));
    let pipelines = methods.iter().map(|(_, pipeline)| *pipeline);
    pipelines
        .min_by_key(|pipeline| (rank(pipeline), *pipeline))
        .unwrap_or(STANDALONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_NAMES: [(&str, &str); 5] = [
        ("alpha-1", "fedmd"),
        ("alpha-1", "standalone"),
        ("alpha-100", "fedmd"),
        ("alpha-100", "standalone"),
        ("plain", "fedavg"),
    ];

    fn chosen(methods: &[(&str, &str)], asked: Option<&str>) -> (String, Vec<Option<usize>>) {
        let baselines = choose(methods, asked).expect("a baseline");
        (baselines.name, baselines.of)
    }

    #[test]
    fn a_pipeline_is_the_baseline_within_each_run_name() {
        let expected = ("standalone".to_owned(), vec![Some(1), Some(1), Some(3), Some(3), None]);
        assert_eq!(chosen(&TWO_NAMES, None), expected);
        assert_eq!(chosen(&TWO_NAMES, Some("standalone")), expected);
        assert_eq!(choose(&TWO_NAMES, None).expect("baselines").lacking, ["plain"]);
    }

    #[test]
    fn a_run_name_is_compared_with_another_ones_baseline_only_where_that_is_named() {
        let expected = ("fedavg".to_owned(), vec![None, None, None, None, Some(4)]);
        assert_eq!(chosen(&TWO_NAMES, Some("fedavg")), expected);
        let own = choose(&TWO_NAMES, Some("fedavg")).expect("baselines");
        assert_eq!(own.lacking, ["alpha-1", "alpha-100"], "each once");
        let expected = ("plain/fedavg".to_owned(), vec![Some(4); 5]);
        assert_eq!(chosen(&TWO_NAMES, Some("plain/fedavg")), expected);
        let named = choose(&TWO_NAMES, Some("plain/fedavg")).expect("baselines");
        assert!(named.lacking.is_empty());
    }

    #[test]
    fn a_method_can_be_the_baseline_of_all() {
        let expected = ("alpha-1/fedmd".to_owned(), vec![Some(0); 5]);
        assert_eq!(chosen(&TWO_NAMES, Some("alpha-1/fedmd")), expected);
        let one = [("quick", "feddf"), ("quick", "fedmd")];
        assert_eq!(
            chosen(&one, Some("quick/feddf")),
            ("feddf".to_owned(), vec![Some(0); 2])
        );
    }

    #[test]
    fn without_standalone_the_baseline_is_the_first_that_ships_in_whatever_order_the_methods_are() {
        // As a run file about FedDF has them, and as its run name does.
        let of_file = [("t", "mine"), ("t", "feddf"), ("t", "fedavg"), ("t", "also_mine")];
        let mut by_name = of_file;
        by_name.sort_unstable();
        assert_eq!(chosen(&of_file, None), ("feddf".to_owned(), vec![Some(1); 4]));
        assert_eq!(chosen(&by_name, None), ("feddf".to_owned(), vec![Some(2); 4]));
        let own = [("t", "mine"), ("t", "also_mine")];
        assert_eq!(chosen(&own, None), ("also_mine".to_owned(), vec![Some(1); 2]));
        // Of each run name its own, as any pipeline that is named.
        let names = [("a", "fedavg"), ("a", "feddf"), ("b", "feddf"), ("c", "fedavg")];
        let expected = ("feddf".to_owned(), vec![Some(1), Some(1), Some(2), None]);
        assert_eq!(chosen(&names, None), expected);
    }

    #[test]
    fn a_baseline_that_is_not_there_is_refused_with_the_one_that_was_meant() {
        let refused = |asked| choose(&TWO_NAMES, Some(asked)).expect_err("no baseline").to_string();
        let slip = refused("standalon");
        assert!(
            slip.contains("'standalon'") && slip.ends_with("did you mean 'standalone'?"),
            "{slip}"
        );
        assert!(refused("alpha-2/fedmd").ends_with("did you mean 'alpha-1/fedmd'?"));
        let other = refused("centralised");
        assert!(other.contains("there are") && other.contains("fedavg"), "{other}");
    }
}
