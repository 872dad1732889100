//! `healthcheck`: asks the running service whether it is ready.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;

/// Longer than the service takes to find out that its database is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the service that listens on `address`. A service that is degraded counts as ready.
///
/// # Errors
///
/// If it does not answer, or answers that it is not ready.
pub(crate) async fn run(address: SocketAddr) -> anyhow::Result<()> {
    let url = format!("http://{}/health/ready", reachable(address));
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let response = client.get(url).send().await.context("no answer")?;
    let status = response.status();
    let report = response.text().await.context("the answer broke off")?;
    anyhow::ensure!(status.is_success(), "not ready: {report}");
    Ok(())
}

/// A service that listens on all addresses is asked on the local one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_on_all_addresses_is_asked_locally() {
        let asked = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:8081"), "127.0.0.1:8081");
        assert_eq!(asked("[::]:8081"), "[::1]:8081");
        assert_eq!(asked("10.0.0.7:8081"), "10.0.0.7:8081");
    }
}
