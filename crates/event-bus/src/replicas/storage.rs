//! How far replicas are, and which versions they have: all SQL.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::lease::LeasedSession;

/// How far a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// Which filling this is.
    pub(super) fill: i64,
    /// The entity behind which the next page begins.
    pub(super) cursor: Option<Uuid>,
    pub(super) is_filled: bool,
}

/// How far the replica is; made one that is not filled if it is new.
pub(super) async fn progress(
    connection: &mut PgConnection,
    replica: &str,
) -> Result<Progress, sqlx::Error> {
    loop {
        let progress = find(&mut *connection, replica).await?;
        if let Some(progress) = progress {
            return Ok(progress);
        }
        sqlx::query!(
            "insert into replicas (name) values ($1) on conflict do nothing",
            replica
        )
        .execute(&mut *connection)
        .await?;
    }
}

/// How far the replica is, if it was ever begun.
pub(super) async fn find(
    connection: &mut PgConnection,
    replica: &str,
) -> Result<Option<Progress>, sqlx::Error> {
    sqlx::query_as!(
        Progress,
        r#"select fill, cursor, filled_at is not null as "is_filled!"
           from replicas where name = $1"#,
        replica
    )
    .fetch_optional(connection)
    .await
}

/// Begins anew.
pub(super) async fn refill(
    connection: &mut PgConnection,
    replica: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into replicas as known (name) values ($1)
         on conflict (name) do update
         set fill = known.fill + 1, cursor = null, filled_at = null",
        replica
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A session that holds the right to fill the replica, or `None` while another instance has it.
pub(super) async fn try_fill(
    pool: &PgPool,
    replica: &str,
) -> Result<Option<LeasedSession>, sqlx::Error> {
    LeasedSession::try_take(pool, "event_bus_fill", &format!(".{replica}")).await
}

/// Who writes versions: events together with each other, a page by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Events,
    Page,
}

/// Keeps pages and events out of each other's way until the transaction ends. It is right without
/// as well; but both write many rows, and would now and then lock each other up.
pub(super) async fn take_turn(
    connection: &mut PgConnection,
    replica: &str,
    writer: Writer,
) -> Result<(), sqlx::Error> {
    if writer == Writer::Page {
        // An instance that is cut off in the middle of a page must not keep the others from it.
        sqlx::query!("set local idle_in_transaction_session_timeout = '10s'")
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query!(
        "select case when $2
             then pg_advisory_xact_lock(key)
             else pg_advisory_xact_lock_shared(key)
         end
         from (select hashtextextended('event_bus_replica.' || current_schema() || '.' || $1, 0))
              as turn (key)",
        replica,
        writer == Writer::Page,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes what events told, and returns those entities for which it was news. No entity may be
/// there twice.
///
/// What is first heard of, or has come to its end, is stamped with the present filling; what is
/// merely newer waits for a page to show that the owner still has it.
pub(super) async fn note_events(
    connection: &mut PgConnection,
    replica: &str,
    ids: &[Uuid],
    versions: &[i64],
    deleted: bool,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into replica_versions as known (replica, entity_id, version, deleted_at, fill)
         select $1, told.id, told.version, case when $4 then now() end,
                coalesce((select fill from replicas where name = $1), 1)
         from unnest($2::uuid[], $3::bigint[]) as told (id, version)
         order by told.id
         on conflict (replica, entity_id) do update
         set version = excluded.version, deleted_at = excluded.deleted_at,
             fill = case when known.deleted_at is null and excluded.deleted_at is null
                        then known.fill else excluded.fill end
         where known.version < excluded.version
            or known.version = excluded.version
               and excluded.deleted_at is not null and known.deleted_at is null
         returning entity_id",
        replica,
        ids,
        versions,
        deleted,
    )
    .fetch_all(connection)
    .await
}

/// Notes what a page showed, and returns those entities for which it was news.
///
/// The version that is there already is news if nothing was heard of the entity in this filling:
/// a replica that is filled anew gets back what it has lost. Nor can that be from before a
/// deletion: one that was heard of before this filling began was made before the page was read.
/// What an earlier filling took for gone is news in any version.
pub(super) async fn note_page(
    connection: &mut PgConnection,
    replica: &str,
    fill: i64,
    ids: &[Uuid],
    versions: &[i64],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into replica_versions as known (replica, entity_id, version, fill)
         select $1, told.id, told.version, $4
         from unnest($2::uuid[], $3::bigint[]) as told (id, version)
         order by told.id
         on conflict (replica, entity_id) do update
         set version = excluded.version, deleted_at = null, fill = excluded.fill
         where known.version < excluded.version
            or known.version = excluded.version and known.fill < excluded.fill
            or known.version = 9223372036854775807 and known.fill < excluded.fill
         returning entity_id",
        replica,
        ids,
        versions,
        fill,
    )
    .fetch_all(connection)
    .await
}

/// Notes that the owner has these entities, in whatever version.
pub(super) async fn note_presence(
    connection: &mut PgConnection,
    replica: &str,
    fill: i64,
    ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update replica_versions set fill = $2
         where replica = $1 and entity_id = any($3) and fill < $2 and deleted_at is null",
        replica,
        fill,
        ids,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves the cursor, unless somebody else has, or the replica is to be filled anew.
pub(super) async fn advance(
    connection: &mut PgConnection,
    replica: &str,
    from: Progress,
    to: Option<Uuid>,
) -> Result<bool, sqlx::Error> {
    let advanced = sqlx::query!(
        "update replicas set cursor = $4
         where name = $1 and fill = $2 and cursor is not distinct from $3 and filled_at is null",
        replica,
        from.fill,
        from.cursor,
        to,
    )
    .execute(connection)
    .await?;
    Ok(advanced.rows_affected() == 1)
}

/// Ends some of the entities that this filling did not meet, and returns the versions they had.
/// When there are none left, it is complete.
///
/// What the owner last said of them is not known, so their end has the highest version there is:
/// an event that comes late is older than it. Only a page of a later filling brings them back.
pub(super) async fn end_some(
    connection: &mut PgConnection,
    replica: &str,
    fill: i64,
    limit: i64,
) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
    let ended = sqlx::query!(
        "with ended as (
             select entity_id, version from replica_versions
             where replica = $1 and fill < $2 and deleted_at is null
             order by entity_id limit $3 for update
         )
         update replica_versions as known
         set deleted_at = now(), fill = $2, version = 9223372036854775807
         from ended
         where known.replica = $1 and known.entity_id = ended.entity_id
         returning ended.entity_id, ended.version",
        replica,
        fill,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(ended
        .into_iter()
        .map(|e| (e.entity_id, e.version))
        .collect())
}

/// Notes that the replica is complete.
pub(super) async fn complete(
    connection: &mut PgConnection,
    replica: &str,
    fill: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update replicas set filled_at = now() where name = $1 and fill = $2",
        replica,
        fill
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets entities that have been gone for longer than this.
pub(crate) async fn purge_tombstones(
    connection: &mut PgConnection,
    retention: Duration,
) -> Result<(), sqlx::Error> {
    let retention = PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(retention.as_micros()).unwrap_or(i64::MAX),
    };
    sqlx::query!(
        "delete from replica_versions where deleted_at < now() - $1::interval",
        retention
    )
    .execute(connection)
    .await?;
    Ok(())
}
