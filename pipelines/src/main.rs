//! The `fedstill` command.

fn main() -> std::process::ExitCode {
    fedstill::main()
}
