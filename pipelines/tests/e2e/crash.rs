//! Kill -9 at any instant costs time only.

use crate::federation::{assert_same, bits, fedstill, finish, long, run, write};
use fedstill_stages::faults::POINTS;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

/// A small generator of its own: instants are the same in every run of the test.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn undisturbed(folder: &Path, file: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let out = folder.join("undisturbed");
    finish(file, &out, &[]);
    bits(&out, "tiny-fedmd-0")
}

#[test]
fn a_run_killed_at_20_random_instants_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[]);
    let expected = undisturbed(folder.path(), &file);
    let out = folder.path().join("killed");
    let mut state = 7;
    let mut killed = 0;
    while killed < 20 {
        let mut child = fedstill()
            .arg("run")
            .arg(&file)
            .arg("--out")
            .arg(&out)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Most instants lie after start and resume, where work is done.
        std::thread::sleep(Duration::from_millis(100 + splitmix(&mut state) % 400));
        // SIGKILL.
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.signal() == Some(9) {
            killed += 1;
        } else {
            // It was done already: the rest of the kills hit a run from its beginning.
            assert!(status.success(), "{status}");
            assert_same(&expected, &bits(&out, "tiny-fedmd-0"), "killed");
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
    finish(&file, &out, &[]);
    assert_same(&expected, &bits(&out, "tiny-fedmd-0"), "killed");
}

#[test]
fn a_run_that_dies_at_every_named_point_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[]);
    let expected = undisturbed(folder.path(), &file);
    let counts: &[u32] = if long() { &[1, 2, 3, 5, 8] } else { &[3] };
    for point in POINTS {
        for count in counts {
            let out = folder.path().join(format!("{}-{count}", point.replace(':', "-")));
            let died = fedstill()
                .env("FEDSTILL_CRASH", format!("{point}:{count}"))
                .args(["run".as_ref(), file.as_os_str(), "--out".as_ref(), out.as_os_str()])
                .output()
                .unwrap();
            assert!(*count > 3 || !died.status.success(), "{point} never came {count} times");
            finish(&file, &out, &[]);
            assert_same(
                &expected,
                &bits(&out, "tiny-fedmd-0"),
                &format!("died at {point}, time {count}"),
            );
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
}

#[test]
fn an_interrupted_run_says_how_to_go_on_and_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[("rounds = 2", "rounds = 20")]);
    let out = folder.path().join("runs");
    let child = fedstill()
        .args(["run".as_ref(), file.as_os_str(), "--out".as_ref(), out.as_os_str()])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let interrupt = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", crate::federation::said(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the same command goes on where it was"));
    let shorter = write(folder.path(), &[]);
    let again = run(&shorter, &out, &[]);
    assert!(again.status.success(), "{}", crate::federation::said(&again));
}
