//! What the `fedstill` command can be asked for.

use super::processors;
use crate::cluster;
use clap::{Parser, Subcommand};
use fedstill_learner::{Processor, Registry};
use fedstill_stages::service::Role;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Federated learning by knowledge distillation, as a dataflow on message queues.
#[derive(Parser, Debug)]
#[command(name = "fedstill", version, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Write a documented run file to start from
    Init {
        /// Where to write it
        #[arg(default_value = "run.toml")]
        file: PathBuf,
    },
    /// Say what a run file would do: steps, who runs them, what leaves whom, bytes, memory; start nothing
    Check {
        /// The run file
        file: PathBuf,
        #[command(flatten)]
        deployment: OfDeployment,
    },
    /// Run a run file to its end; go on where it was interrupted; show it when finished
    Run {
        /// The run file
        file: PathBuf,
        /// Folder of runs and results
        #[arg(long, default_value = "runs")]
        out: PathBuf,
        /// Compute threads [default: the processors that there are]
        #[arg(long)]
        threads: Option<NonZeroUsize>,
        #[command(flatten)]
        on: On,
    },
    /// Run a run file at every point of a grid, several runs side by side; go on where it was interrupted
    Sweep {
        /// The sweep file: which run file, which seeds, and a grid of settings
        file: PathBuf,
        /// Folder of runs and results
        #[arg(long, default_value = "runs")]
        out: PathBuf,
        /// Runs at once [default: the processors that there are]
        #[arg(long)]
        jobs: Option<NonZeroUsize>,
        /// Compute threads of each run
        #[arg(long, default_value = "1")]
        threads: NonZeroUsize,
        /// Only print the points and what they would take
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        on: On,
    },
    /// List the pipelines that a run file can name: what each is, what crosses between parties and server, what it needs
    Pipelines {
        /// One of them, to be printed as a file that a pipeline of one's own can start from
        name: Option<String>,
    },
    /// List what can be trained and predicted on, by the names that --device takes
    Devices,
    /// Show the results of a run file's runs, of each point of a sweep file, or of the runs of a name
    Report {
        /// The run file or the sweep file, or a name: of a run, of a sweep's point
        #[arg(value_name = "FILE")]
        asked: PathBuf,
        /// Folder of runs and results
        #[arg(long, default_value = "runs")]
        out: PathBuf,
    },
    /// Set runs side by side: accuracy over seeds, differences paired by seed, what a target takes, time and price by step
    Compare(Comparing),
    /// Make the topics of a deployment, or mend those that are there
    #[command(subcommand)]
    Topics(Topics),
    /// Work on stages of a deployment until stopped
    Worker {
        #[command(flatten)]
        deployment: OfDeployment,
        /// Stages, with commas: plan, advance, pretrain, train, predict, aggregate, join, distill, average, evaluate, archive
        #[arg(long, env = "FEDSTILL_WORKER_STAGES", value_delimiter = ',', default_value = "all")]
        stages: Vec<String>,
        #[command(flatten)]
        serving: Serving,
    },
    /// Take part in a deployment with data of one's own
    #[command(subcommand)]
    Party(Party),
    /// Start the runs of a run file on a deployment, or take them up again
    Submit {
        /// The run file
        file: PathBuf,
        /// Only print the triggers, a line each, to be written to the topic fedstill.rounds with any Kafka tool
        #[arg(long)]
        print: bool,
        #[command(flatten)]
        deployment: OfDeployment,
    },
    /// Say what happens to a run of a deployment until it ends
    Watch {
        /// The run's id, as `fedstill submit` says it
        run: String,
        #[command(flatten)]
        deployment: OfDeployment,
    },
    /// Do a run of a deployment again on this machine, with the members that it had, and compare bit for bit
    Replay {
        /// The run's id
        run: String,
        /// Folder of the replay; what is there already is not done again
        #[arg(long, default_value = "replays")]
        out: PathBuf,
        /// Compute threads [default: the processors that there are]
        #[arg(long)]
        threads: Option<NonZeroUsize>,
        #[command(flatten)]
        deployment: OfDeployment,
    },
    /// Delete what a run that has ended has put into the stores, but for its result tables
    Prune {
        /// The run's id
        run: String,
        #[command(flatten)]
        deployment: OfDeployment,
    },
    /// End a run of a deployment
    Stop {
        /// The run's id
        run: String,
        #[command(flatten)]
        deployment: OfDeployment,
    },
}

/// What is compared, and how.
#[derive(clap::Args, Debug)]
pub(super) struct Comparing {
    /// Run files and sweep files, ids of runs, or names: <name> is all runs <name>-<pipeline>-<seed> that have results
    #[arg(required = true, value_name = "RUN")]
    pub(super) runs: Vec<String>,
    /// Folder of runs and results
    #[arg(long, default_value = "runs")]
    pub(super) out: PathBuf,
    /// Count rounds, bytes and price up to the first round with this mean accuracy, as in 0.9
    #[arg(long, value_parser = share)]
    pub(super) target: Option<f64>,
    /// What differences are against: a pipeline, or name/pipeline [default: standalone, or else the first in
    /// the order of `fedstill pipelines`]
    #[arg(long)]
    pub(super) baseline: Option<String>,
    /// How many evaluations at the end of a run its mean is of
    #[arg(long, default_value = "5")]
    pub(super) last: NonZeroUsize,
    /// The test set, as in the column test_set of the results [default: the first one met]
    #[arg(long)]
    pub(super) test_set: Option<String>,
    /// Where to write compare.parquet and the pictures accuracy and cost, as SVG and PNG [default: <out>/compare]
    #[arg(long, value_name = "FOLDER")]
    pub(super) to: Option<PathBuf>,
}

/// An accuracy to reach.
fn share(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok();
    let value = value.filter(|value| *value > 0.0 && *value <= 1.0);
    value.ok_or_else(|| "an accuracy is above 0 and at most 1, as in 0.9".to_owned())
}

/// What is done about topics.
#[derive(Subcommand, Debug)]
pub(super) enum Topics {
    /// Make what is not there, extend what has too few partitions, mend what is configured otherwise
    Create {
        #[command(flatten)]
        deployment: OfDeployment,
    },
}

/// What a party does.
#[derive(Subcommand, Debug)]
pub(super) enum Party {
    /// Make a key and a documented party.toml; print what the operator needs
    Init {
        /// The party's id
        id: String,
        /// Where to write both files
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Work for a party until stopped
    Run {
        /// The party's file
        #[arg(default_value = "party.toml")]
        file: PathBuf,
        #[command(flatten)]
        serving: Serving,
    },
}

/// How a process works until it is stopped.
#[derive(clap::Args, Debug)]
pub(super) struct Serving {
    /// Tasks at once [default: the processors that there are]
    #[arg(long, env = "FEDSTILL_WORKER_JOBS")]
    pub(super) jobs: Option<NonZeroUsize>,
    /// Answer /healthz and /readyz on this address, as 0.0.0.0:8080
    #[arg(long, env = "FEDSTILL_WORKER_HEALTH")]
    pub(super) health: Option<String>,
    /// Seconds that tasks may go on after it was asked to stop
    #[arg(long, env = "FEDSTILL_WORKER_GRACE", default_value_t = 25)]
    pub(super) grace: u64,
    #[command(flatten)]
    on: On,
}

impl Serving {
    /// # Errors
    /// Why it cannot work so.
    pub(super) fn options(self, roles: Vec<Role>) -> Result<cluster::Options, String> {
        Ok(cluster::Options {
            roles,
            registry: self.on.registry()?,
            threads: self.jobs.map_or_else(processors, NonZeroUsize::get),
            health: self.health,
            grace: Duration::from_secs(self.grace),
        })
    }
}

/// What models are computed on.
#[derive(clap::Args, Debug)]
pub(super) struct On {
    /// Train and predict on cpu, gpu, or gpu:1; the last two need a build with --features gpu, combine predictions of 1,000
    /// classes or more too, and promise no bits
    #[arg(long, env = "FEDSTILL_DEVICE", default_value = "cpu")]
    device: String,
}

impl On {
    /// The architectures, on that device.
    pub(super) fn registry(&self) -> Result<Registry, String> {
        let processor = Processor::find(&self.device).map_err(|error| error.to_string())?;
        Ok(Registry::default().on(processor))
    }
}

/// Where a deployment is.
#[derive(clap::Args, Debug)]
pub(super) struct OfDeployment {
    /// A file with [log] and [store]; FEDSTILL_LOG_BROKERS, FEDSTILL_STORE_URL and others replace what it says
    #[arg(long, env = "FEDSTILL_CONFIG")]
    pub(super) config: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_accuracy() {
        assert_eq!(share("0.9"), Ok(0.9));
        assert_eq!(share("1"), Ok(1.0));
        for other in ["0", "-0.1", "1.1", "90", "NaN", "inf", "90%", ""] {
            assert!(share(other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_comparison_needs_a_run_and_has_defaults_for_the_rest() {
        let parse = |words: &[&str]| Arguments::try_parse_from(words);
        assert!(parse(&["fedstill", "compare"]).is_err());
        assert!(parse(&["fedstill", "compare", "quick", "--last", "0"]).is_err());
        let parsed = parse(&["fedstill", "compare", "quick", "a.toml"]).expect("two runs");
        let Command::Compare(comparing) = parsed.command else {
            panic!("{parsed:?}");
        };
        assert_eq!(comparing.runs, ["quick", "a.toml"]);
        assert_eq!((comparing.last.get(), comparing.target, comparing.to), (5, None, None));
    }
}
