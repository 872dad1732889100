//! The ordering service's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_host::main::<ordering::Ordering>()
}
