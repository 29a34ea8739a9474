//! The temperature that a file gives a step, against the terms of the step.

use super::{Problem, RunFile};
use crate::pipeline::Pipeline;

/// A step has a temperature, and compares no predictions by a divergence in any of the file's pipelines.
pub(super) fn changes_nothing(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    let mut having: Vec<&str> = Vec::new();
    for step in pipelines.iter().flat_map(Pipeline::all_steps) {
        if step.has_temperature() && !having.contains(&step.name.as_str()) {
            having.push(&step.name);
        }
    }
    let mut settings = file.steps.iter();
    let (name, _) =
        settings.find(|(name, settings)| settings.temperature.is_some() && !having.contains(&name.as_str()))?;
    let with_step = |pipeline: &&Pipeline| pipeline.all_steps().any(|step| step.name == *name);
    let mut of: Vec<&str> = Vec::new();
    for pipeline in pipelines.iter().filter(with_step) {
        // Of a sweep's points there may be several of one name.
        if !of.contains(&pipeline.name.as_str()) {
            of.push(&pipeline.name);
        }
    }
    let help = match having.as_slice() {
        [] => "remove it, or name a pipeline with such a term, as feddf has in distill".to_owned(),
        steps => format!("remove it; steps with such a term: {}", steps.join(", ")),
    };
    Some(file.complain(
        &format!("steps.{name}.temperature"),
        format!(
            "'steps.{name}.temperature' would change nothing: step '{name}' of {} {} no term with loss = {{ kind = \"kl\" }}",
            of.join(" and "),
            if of.len() == 1 { "has" } else { "have" }
        ),
        help,
    ))
}
