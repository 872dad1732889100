//! The instances that take part in ordered groups: all the SQL of their table.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

/// Says that a member is here, and who else is: those seen within `patience`, oldest first.
pub(crate) async fn renew(
    connection: &mut PgConnection,
    group: &str,
    member: Uuid,
    patience: Duration,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let patience = PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(patience.as_micros()).unwrap_or(i64::MAX),
    };
    sqlx::query!(
        "insert into group_members (group_name, member) values ($1, $2)
         on conflict (group_name, member) do update set seen_at = clock_timestamp()",
        group,
        member,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query_scalar!(
        "select member from group_members
         where group_name = $1 and seen_at > clock_timestamp() - $2::interval
         order by member",
        group,
        patience,
    )
    .fetch_all(connection)
    .await
}

/// Takes a member off the list, along with those that have not been seen for an hour.
pub(crate) async fn leave(
    connection: &mut PgConnection,
    group: &str,
    member: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from group_members
         where group_name = $1
           and (member = $2 or seen_at < clock_timestamp() - interval '1 hour')",
        group,
        member,
    )
    .execute(connection)
    .await?;
    Ok(())
}
