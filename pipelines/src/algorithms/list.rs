//! What `fedstill pipelines` shows: each pipeline with what crosses and what it needs, both as its steps say.

use super::described;
use fedstill_schemas::pipeline::{Disclosure, On, Pipeline, Target};
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
        assert!(of("centralised").ends_with("simulated parties"));
    }
}
