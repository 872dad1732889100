//! The catalog service as a program: see `catalog --help`.

fn main() -> std::process::ExitCode {
    service_host::main::<catalog::Catalog>()
}
