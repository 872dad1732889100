//! Running instances and known bindings: all the SQL of their tables.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Wanted;
use crate::message::Kind;
use crate::partition::Partition;
use crate::transport::{Binding, Group};

/// What an instance handles.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) id: Uuid,
    pub(super) service: String,
    pub(super) handlers: Vec<String>,
    pub(super) wanted: Vec<Wanted>,
}

/// Bindings as columns.
#[derive(Debug, Default)]
struct Columns {
    groups: Vec<String>,
    ordered: Vec<bool>,
    kinds: Vec<String>,
    patterns: Vec<String>,
    partitions: Vec<i32>,
    subscribed: Vec<bool>,
}

impl Columns {
    fn of(wanted: &[Wanted]) -> Self {
        let mut columns = Self::default();
        for Wanted { group, subscribed } in wanted {
            for binding in &group.bindings {
                columns.groups.push(group.name.clone());
                columns.ordered.push(group.partition.is_some());
                columns.kinds.push(word_of(binding.kind).to_owned());
                columns.patterns.push(binding.pattern.clone());
                let partitions = group.partition.map_or(0, |partition| partition.of);
                columns.partitions.push(partitions.into());
                columns.subscribed.push(*subscribed);
            }
        }
        columns
    }
}

/// Waits until no other instance registers or sweeps, until the transaction ends: whoever binds
/// after that is not unbound by a sweep that did not know of it.
pub(super) async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('event_bus_bindings.' || current_schema(), 0))"
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Records that an instance runs, and what it is bound for. A subscription that was unsubscribed
/// stays so; [`rebind`] takes it up again.
pub(super) async fn register(
    connection: &mut PgConnection,
    instance: &Instance,
) -> Result<(), sqlx::Error> {
    let columns = Columns::of(&instance.wanted);
    sqlx::query!(
        "insert into bus_instances
             (instance, service, handlers, wanted_groups, wanted_ordered, wanted_kinds,
              wanted_patterns)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (instance) do update
         set seen_at = clock_timestamp(), handlers = excluded.handlers,
             wanted_groups = excluded.wanted_groups, wanted_ordered = excluded.wanted_ordered,
             wanted_kinds = excluded.wanted_kinds, wanted_patterns = excluded.wanted_patterns",
        instance.id,
        instance.service,
        &instance.handlers,
        &columns.groups,
        &columns.ordered,
        &columns.kinds,
        &columns.patterns,
    )
    .execute(&mut *connection)
    .await?;
    // Rows that are right already are not touched: this runs every few seconds.
    sqlx::query!(
        "insert into bus_bindings
             (service, group_name, ordered, kind, pattern, partitions, subscribed)
         select $1, group_name, ordered, kind, pattern, partitions, subscribed
         from unnest($2::text[], $3::boolean[], $4::text[], $5::text[], $6::integer[],
                     $7::boolean[])
              as wanted (group_name, ordered, kind, pattern, partitions, subscribed)
         where not exists (
             select from bus_bindings as known
             where known.service = $1
               and (known.group_name, known.ordered, known.kind, known.pattern)
                 = (wanted.group_name, wanted.ordered, wanted.kind, wanted.pattern)
               and (known.partitions, known.subscribed) = (wanted.partitions, wanted.subscribed)
               and (known.bound or known.subscribed)
         )
         on conflict (service, group_name, ordered, kind, pattern) do update
         set partitions = excluded.partitions, subscribed = excluded.subscribed,
             bound = bus_bindings.bound or not excluded.subscribed",
        instance.service,
        &columns.groups,
        &columns.ordered,
        &columns.kinds,
        &columns.patterns,
        &columns.partitions,
        &columns.subscribed,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Records that a subscription begins, or begins again after it was unsubscribed.
pub(super) async fn rebind(
    connection: &mut PgConnection,
    service: &str,
    group: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update bus_bindings set bound = true
         where service = $1 and group_name = $2 and subscribed and not bound",
        service,
        group,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Records that a subscription was unsubscribed, for all instances.
pub(super) async fn unsubscribe(
    connection: &mut PgConnection,
    service: &str,
    group: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update bus_bindings set bound = false
         where service = $1 and group_name = $2 and subscribed and bound",
        service,
        group,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The subscriptions that were unsubscribed.
pub(super) async fn unsubscribed(
    connection: &mut PgConnection,
    service: &str,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "select distinct group_name from bus_bindings
         where service = $1 and subscribed and not bound",
        service,
    )
    .fetch_all(connection)
    .await
}

/// Removes an instance that was stopped.
pub(super) async fn leave(
    connection: &mut PgConnection,
    instance: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from bus_instances where instance = $1", instance)
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes instances that were not seen for half a minute.
pub(super) async fn expire(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from bus_instances where seen_at < clock_timestamp() - interval '30 seconds'"
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The bindings that a service has and no instance of it wants, by group.
pub(super) async fn unwanted(
    connection: &mut PgConnection,
    service: &str,
) -> Result<Vec<Group>, sqlx::Error> {
    let rows = sqlx::query!(
        "select group_name, kind, pattern, partitions
         from bus_bindings as known
         where service = $1 and bound and not subscribed and not exists (
             select from bus_instances as instance,
                  unnest(wanted_groups, wanted_ordered, wanted_kinds, wanted_patterns)
                  as wanted (group_name, ordered, kind, pattern)
             where instance.service = $1
               and (wanted.group_name, wanted.ordered, wanted.kind, wanted.pattern)
                 = (known.group_name, known.ordered, known.kind, known.pattern)
         )
         order by group_name, partitions, kind, pattern",
        service,
    )
    .fetch_all(connection)
    .await?;
    let mut groups = BTreeMap::new();
    for row in rows {
        let binding = Binding {
            kind: kind_of(&row.kind),
            pattern: row.pattern,
        };
        groups
            .entry((row.group_name, row.partitions))
            .or_insert_with(Vec::new)
            .push(binding);
    }
    let groups = groups.into_iter();
    Ok(groups
        .map(|((name, partitions), bindings)| group_of(name, partitions, bindings))
        .collect())
}

/// Records that a group is no longer bound for these bindings.
pub(super) async fn mark_unbound(
    connection: &mut PgConnection,
    service: &str,
    group: &Group,
) -> Result<(), sqlx::Error> {
    let columns = Columns::of(&[Wanted {
        group: group.clone(),
        subscribed: false,
    }]);
    sqlx::query!(
        "update bus_bindings set bound = false
         where service = $1 and group_name = $2 and ordered = $3
           and (kind, pattern) in (select * from unnest($4::text[], $5::text[]))",
        service,
        group.name,
        group.partition.is_some(),
        &columns.kinds,
        &columns.patterns,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The groups of a service that no instance has, and that are bound for nothing any more.
pub(super) async fn abandoned(
    connection: &mut PgConnection,
    service: &str,
) -> Result<Vec<Group>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select group_name, max(partitions) as "partitions!"
           from bus_bindings as known
           where service = $1
           group by group_name, ordered
           having not bool_or(bound) and not exists (
               select from bus_instances as instance,
                    unnest(wanted_groups, wanted_ordered) as wanted (group_name, ordered)
               where instance.service = $1
                 and (wanted.group_name, wanted.ordered) = (known.group_name, known.ordered)
           )
           order by group_name"#,
        service,
    )
    .fetch_all(connection)
    .await?;
    let groups = rows.into_iter();
    Ok(groups
        .map(|row| group_of(row.group_name, row.partitions, Vec::new()))
        .collect())
}

/// Deletes what is known of a group whose queues do not exist any more.
pub(super) async fn delete_group(
    connection: &mut PgConnection,
    service: &str,
    group: &Group,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from bus_bindings
         where service = $1 and group_name = $2 and ordered = $3 and not bound",
        service,
        group.name,
        group.partition.is_some(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn group_of(name: String, partitions: i32, bindings: Vec<Binding>) -> Group {
    let of = u16::try_from(partitions).unwrap_or_default();
    Group {
        name,
        bindings,
        prefetch: 1,
        partition: (of > 0).then_some(Partition { index: 0, of }),
    }
}

const fn word_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => "event",
        Kind::Command => "command",
        Kind::Query => "query",
    }
}

fn kind_of(word: &str) -> Kind {
    match word {
        "command" => Kind::Command,
        "query" => Kind::Query,
        _ => Kind::Event,
    }
}
