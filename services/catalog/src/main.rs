//! The catalog service as a program: see `catalog --help`.

#[global_allocator]
static ALLOCATOR: service_host::Allocator = service_host::Allocator;

fn main() -> std::process::ExitCode {
    service_host::main::<catalog::Catalog>()
}
