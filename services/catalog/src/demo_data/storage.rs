//! The SQL of the note that the demo products were put in.

use sqlx::PgConnection;

/// Notes that the demo products are put in by this unit of work, and tells whether it is the first.
///
/// Waits for another one that has noted the same and is not done yet.
pub(super) async fn note_products(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into demo_data (name) values ('products') on conflict (name) do nothing"
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
