//! Runs on other devices than the CPU.

#[cfg(feature = "gpu")]
use crate::federation::finish;
use crate::federation::{fedstill, run, said, write};

#[test]
fn a_device_that_is_not_there_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[]);
    let output = run(&file, &folder.path().join("runs"), &["--device", "gpu:99"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("no device 'gpu:99'"), "{}", said(&output));
    assert!(!folder.path().join("runs").exists(), "nothing was begun");
    let listed = fedstill().arg("devices").output().unwrap();
    assert!(
        String::from_utf8_lossy(&listed.stdout).starts_with("cpu "),
        "{}",
        said(&listed)
    );
}

#[cfg(feature = "gpu")]
#[test]
fn the_first_gpu_is_listed_with_what_it_calls_itself() {
    let all = fedstill_learner::Processor::all();
    let Some((_, called)) = all.iter().find(|(name, _)| name == "gpu:0") else {
        let missing = "no driver; apt-get install mesa-vulkan-drivers libvulkan1".to_owned();
        return fedstill_test_servers::skip("the list of GPUs", &fedstill_test_servers::Missing(missing));
    };
    assert!(!called.trim().is_empty());
    let output = fedstill().arg("devices").output().unwrap();
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", said(&output));
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("cpu "), "{listed}");
    assert_eq!(lines.len(), all.len(), "{listed}");
    // The name that `--device` takes, and then the device's own.
    let words = lines[1].split_once(' ').map(|(name, rest)| (name, rest.trim()));
    assert_eq!(words, Some(("gpu:0", called.trim())), "{listed}");
}

#[cfg(feature = "gpu")]
#[test]
fn a_federation_runs_on_a_gpu_and_its_results_name_it() {
    if fedstill_learner::Processor::find("gpu").is_err() {
        let missing = "no driver; apt-get install mesa-vulkan-drivers libvulkan1".to_owned();
        return fedstill_test_servers::skip("a federation on a GPU", &fedstill_test_servers::Missing(missing));
    }
    let folder = tempfile::tempdir().unwrap();
    let changes = [
        ("rounds = 2", "rounds = 1"),
        ("count = 3", "count = 2"),
        ("rows = 90", "rows = 80"),
        (
            "architectures = [\"mlp[32]\", \"cnn[4]\"]",
            "architectures = [\"lenet\", \"cnn[4]\"]",
        ),
    ];
    let file = write(folder.path(), &changes);
    let out = folder.path().join("runs");
    finish(&file, &out, &["--device", "gpu"]);
    let shown = fedstill()
        .arg("report")
        .arg(&file)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    let text = said(&shown);
    assert!(text.contains("numerics gpu "), "{text}");
}
