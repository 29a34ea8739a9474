//! What a run file changes about a step of its pipeline.

use crate::fit::{EarlyStop, Fit, Loss, Optimizer, Schedule};
use crate::pipeline::{Rule, Stage, Step};

/// `[steps.<name>]`: what is `None` stays as the pipeline has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepSettings {
    /// Passes over the step's rows.
    pub epochs: Option<u32>,
    /// Steps of the optimizer, instead of passes.
    pub steps: Option<u32>,
    /// Rows a step of the optimizer.
    pub batch: Option<u32>,
    /// The optimizer.
    pub optimizer: Option<Optimizer>,
    /// How the learning rate changes.
    pub schedule: Option<Schedule>,
    /// The weight of the distance to the weights that it started from.
    pub proximal: Option<f64>,
    /// The weight of the sum of squares of the head's weights.
    pub head_l2: Option<f64>,
    /// The greatest length of a step's gradient.
    pub clip: Option<f64>,
    /// Early stopping.
    pub stop: Option<Stop>,
    /// The temperature of its divergences.
    pub temperature: Option<f64>,
    /// How predictions or weights are combined.
    pub rule: Option<Rule>,
    /// Whether the worst of the parties' models are left out.
    pub drop_worst: Option<bool>,
}

impl StepSettings {
    /// Changes what these settings name and the step has: baselines may have a step of the same name that does less.
    pub fn apply(&self, step: &mut Step) {
        if let Some(fit) = &mut step.fit {
            self.apply_to_fit(fit);
        }
        for term in &mut step.terms {
            if let (Loss::Kl { t, .. }, Some(temperature)) = (&mut term.loss, self.temperature) {
                *t = temperature;
            }
        }
        let rule = self.rule.as_ref().filter(|rule| match step.stage {
            Stage::Aggregate => rule.is_of_predictions(),
            Stage::Average => !rule.is_of_predictions(),
            _ => false,
        });
        if rule.is_some() {
            step.rule = rule.cloned();
        }
        if let (Stage::Aggregate | Stage::Average, Some(drop_worst)) = (step.stage, self.drop_worst) {
            step.drop_worst = drop_worst;
        }
    }

    fn apply_to_fit(&self, fit: &mut Fit) {
        if let Some(epochs) = self.epochs {
            fit.epochs = epochs;
            fit.steps = None;
        }
        if self.steps.is_some() {
            fit.steps = self.steps;
        }
        if let Some(batch) = self.batch {
            fit.batch = batch;
        }
        if let Some(optimizer) = &self.optimizer {
            fit.optimizer = optimizer.clone();
        }
        if let Some(schedule) = self.schedule {
            fit.schedule = schedule;
        }
        if let Some(proximal) = self.proximal {
            fit.proximal = proximal;
        }
        if let Some(head_l2) = self.head_l2 {
            fit.head_l2 = head_l2;
        }
        if self.clip.is_some() {
            fit.clip = self.clip;
        }
        match &self.stop {
            Some(Stop::Never) => fit.stop = None,
            Some(Stop::Early(stop)) => fit.stop = Some(stop.clone()),
            None => {}
        }
    }
}

/// What a run file says about early stopping.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// `stop = false`: all epochs are trained.
    Never,
    /// `stop = { patience = .. }`.
    Early(EarlyStop),
}
