//! `fedstill party`: the worker of one party, with its own data, its own store and its key.

use super::worker::{Options, serve_as};
use super::{Config, Exporters};
use crate::run_file_report;
use fedstill_learner::Dataset;
use fedstill_schemas::run_file::PartyFile;
use fedstill_schemas::signature::PrivateKey;
use fedstill_stages::StageError;
use fedstill_stages::context::Own;
use fedstill_stages::tensors::Tensors;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// A documented party file.
const TEMPLATE: &str = include_str!("party.toml");

/// Makes a key and a party file in a folder; says what to send to the operator.
///
/// # Errors
/// Files that are there already, or cannot be written.
pub(crate) fn init(folder: &Path, id: &str) -> Result<String, String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system gives no random numbers: {error}"))?;
    let key = PrivateKey::from_bytes(&bytes);
    let file = TEMPLATE.replace("hospital-a", id);
    PartyFile::parse(&file).map_err(|problems| problems[0].message.clone())?;
    let write = |name: &str, mode: u32, text: &str| {
        let path = folder.join(name);
        let mut options = std::fs::File::options();
        let opened = options.write(true).create_new(true).mode(mode).open(&path);
        opened
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    // The key first: it is what must not be written over.
    write("party.key", 0o600, &key.to_text())?;
    write("party.toml", 0o644, &file)?;
    Ok(format!(
        "wrote {0}/party.toml and {0}/party.key: name your data and stores in the first, show the second to nobody\n\n\
         send this to the operator of the federation:\n\n\
         [[party]]\nid           = \"{id}\"\narchitecture = \"lenet\"      # or any other: yours to choose\n\
         key          = \"{1}\"\n",
        folder.display(),
        key.public()
    ))
}

/// Works for a party until `asked` says to stop.
///
/// # Errors
/// What is wrong with its file, key or data, and what a person must change.
pub(crate) fn serve(
    file: &Path,
    options: Options,
    exporters: Option<&Exporters>,
    asked: &(dyn Fn() -> bool + Sync),
) -> Result<(), StageError> {
    let stop = |reason: String| StageError::Stop(reason);
    let text = std::fs::read_to_string(file).map_err(|error| {
        stop(format!(
            "cannot read {}: {error}; `fedstill party init` writes one",
            file.display()
        ))
    })?;
    let party = PartyFile::parse(&text).map_err(|problems| {
        stop(run_file_report::render(
            file,
            &text,
            &problems,
            run_file_report::colours(),
        ))
    })?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let key = folder.join(&party.key);
    let key: PrivateKey = std::fs::read_to_string(&key)
        .map_err(|error| stop(format!("cannot read the key {}: {error}", key.display())))?
        .parse()
        .map_err(|why| stop(format!("the key {}: {why}", key.display())))?;
    let data = Dataset::open(&folder.join(&party.data), &party.columns);
    let data = data.map_err(|error| stop(error.to_string()))?;
    let config = Config::over(party.deployment).map_err(stop)?;

    let learner = Tensors::new(options.registry.clone(), []).with_own(Arc::new(data));
    let own = Own {
        id: party.id,
        key,
        allow: party.allow,
    };
    let store = || config.store_of_party(&party.store);
    serve_as(Some(own), &config, options, learner, &store, exporters, asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fedstill_schemas::pipeline::Disclosure;

    #[test]
    fn the_file_explains_all_that_a_party_may_be_asked_to_allow() {
        for what in Disclosure::ALL {
            let start = format!("#   {} ", what.name());
            let explained = TEMPLATE.lines().any(|line| line.starts_with(&start));
            // Only a simulation shows private rows.
            assert_eq!(explained, what != Disclosure::PrivateRows, "{}", what.name());
        }
    }
}
