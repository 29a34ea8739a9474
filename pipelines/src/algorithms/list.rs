//! What `fedstill pipelines` shows: each pipeline with what crosses and what it needs, both as its steps say; or one of them
//! as a file.

use super::described;
use fedstill_schemas::pipeline::{Disclosure, On, Pipeline, Target};
use fedstill_schemas::run_file::{quoted, suggestion};
use std::fmt::Write;

/// Every pipeline in a few lines.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for (pipeline, about) in described() {
        let crosses: Vec<&str> = pipeline.discloses.iter().map(|what| what.name()).collect();
        let _ = writeln!(
            text,
            "{}\n  {about}\n  crosses  {}\n  needs    {}\n",
            pipeline.name,
            crosses.join(", "),
            needs(&pipeline).join(", ")
        );
    }
    text
}

/// A pipeline as a file that one of a person's own can start from.
///
/// # Errors
/// Which pipelines there are, or the one that is meant, where there is none of that name.
pub(crate) fn file(name: &str) -> Result<String, String> {
    let all = described();
    let Some((pipeline, about)) = all.iter().find(|(pipeline, _)| pipeline.name == name) else {
        let names: Vec<&str> = all.iter().map(|(pipeline, _)| pipeline.name.as_str()).collect();
        let meant = suggestion(name, "pipelines", &names);
        return Err(format!("unknown pipeline {}; {meant}", quoted(name)));
    };
    Ok(format!("# {about}.\n#\n{HEAD}\n{}", pipeline.to_toml()))
}

/// What to do with such a file.
const HEAD: &str = "\
# For a pipeline of your own, save this beside your run file, as in mine.toml, give it another name, change its steps, and
# write pipeline = \"mine.toml\" in the run file. docs/pipelines.md says what each key means.
";

/// What a run file must have for it.
fn needs(pipeline: &Pipeline) -> Vec<&'static str> {
    let terms = || pipeline.all_steps().flat_map(|step| &step.terms);
    let on = |on| terms().any(|term| term.on == on);
    let labelled = terms().any(|term| term.on != On::Private && term.target == Target::Labels);
    let mut needs = Vec::new();
    if on(On::Private) {
        needs.push("private rows");
    }
    if on(On::Public) || on(On::Alignment) {
        needs.push(if labelled {
            "public rows with labels"
        } else {
            "public rows"
        });
    }
    if pipeline.reads_validation() {
        needs.push("validation rows");
    }
    if pipeline.discloses.contains(&Disclosure::PrivateRows) {
        needs.push("simulated parties");
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pipeline_says_what_crosses_and_what_it_needs() {
        let text = list();
        let of = |name: &str| {
            let found = text.split("\n\n").find(|block| block.starts_with(&format!("{name}\n")));
            found.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
        };
        let fedmd = of("fedmd");
        assert!(fedmd.contains("arXiv:1910.03581"), "{fedmd}");
        assert!(fedmd.contains("crosses  predictions, consensus, reports\n"), "{fedmd}");
        assert!(
            fedmd.ends_with("needs    private rows, public rows with labels"),
            "{fedmd}"
        );
        assert!(of("standalone").contains("crosses  reports\n"));
        assert!(of("feddf").ends_with("needs    private rows, public rows, validation rows"));
        assert!(of("fedavg").ends_with("needs    private rows"));
        for control in ["standalone", "centralised", "self_digest"] {
            assert!(of(control).contains("arXiv:1910.03581"), "{control} has an origin");
        }
        assert!(of("centralised").ends_with("simulated parties"));
    }

    #[test]
    fn a_pipeline_s_file_says_what_it_is_and_is_that_pipeline() {
        for (pipeline, about) in described() {
            let text = file(&pipeline.name).unwrap();
            assert!(text.starts_with(&format!("# {about}.\n")), "{text}");
            assert_eq!(Pipeline::parse(&text), Ok(pipeline));
        }
        assert!(
            file("centralised")
                .unwrap()
                .contains("as many steps of the optimizer as all parties")
        );
        let unknown = file("fedmb").unwrap_err();
        assert_eq!(unknown, "unknown pipeline 'fedmb'; did you mean 'fedmd'?");
    }
}
