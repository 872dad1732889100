//! The tables and privileges that a bus needs in its schema.

use sqlx::PgPool;

/// The tables of the bus. Their partitions need no privileges of their own.
const TABLES: [&str; 13] = [
    "bus_bindings",
    "bus_instances",
    "dead_letters",
    "group_members",
    "inbox",
    "inbox_held_keys",
    "inbox_held_messages",
    "inbox_retries",
    "outbox",
    "outbox_refused",
    "outbox_scheduled",
    "replica_versions",
    "replicas",
];

/// The functions of the bus.
const FUNCTIONS: [&str; 2] = ["inbox_claim(uuid[], text[])", "inbox_keep(interval)"];

/// Says in words which tables don't exist, or else which privileges the pool's role lacks; `None`
/// if nothing is missing.
///
/// # Errors
///
/// If the database can't be reached.
pub(crate) async fn missing(pool: &PgPool) -> Result<Option<String>, sqlx::Error> {
    let unknown = sqlx::query_scalar!(
        r#"select name as "name!" from unnest($1::text[]) as name where to_regclass(name) is null"#,
        &TABLES.map(str::to_owned) as _,
    )
    .fetch_all(pool)
    .await?;
    if !unknown.is_empty() {
        let tables = unknown.join(", ");
        return Ok(Some(format!(
            "the schema has no table {tables}; run the bus's migrations"
        )));
    }
    let lacking = sqlx::query_scalar!(
        r#"select format('%s on %s', privilege, name) as "privilege!"
           from unnest($1::text[]) as name
           cross join unnest(array['select', 'insert', 'update', 'delete']) as privilege
           where not has_table_privilege(to_regclass(name), privilege)
           union all
           select format('execute on function %s', name) from unnest($2::text[]) as name
           where not has_function_privilege(to_regprocedure(name)::oid, 'execute')"#,
        &TABLES.map(str::to_owned) as _,
        &FUNCTIONS.map(str::to_owned) as _,
    )
    .fetch_all(pool)
    .await?;
    Ok(match lacking.as_slice() {
        [] => None,
        lacking => Some(format!(
            "the role lacks privileges; grant it {}",
            lacking.join(", ")
        )),
    })
}
