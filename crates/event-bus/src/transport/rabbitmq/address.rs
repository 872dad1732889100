//! Addresses of brokers, as a program is configured with them.

use lapin::uri::AMQPUri;

/// The heartbeat interval that is requested, in seconds, unless the address sets `?heartbeat=`.
///
/// The broker closes a connection two to three intervals after it last received something, and only
/// then gives the partitions of an ordered group, and what was not acknowledged, to other members.
/// RabbitMQ's own default of 60 s would make them wait for up to three minutes.
const HEARTBEAT_SECONDS: u16 = 10;

/// An address is not one of AMQP. The address is not repeated, as it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error(
    "address {number} of {count} is not an AMQP address (amqp://user:password@host:port/vhost): {fault}"
)]
pub struct InvalidAddress {
    number: usize,
    count: usize,
    fault: Fault,
}

/// What is wrong with an address. None of these texts repeats a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("it does not begin with amqp:// or amqps://")]
    Scheme,
    #[error(
        "it contains a comma that does not begin another address; \
         percent-encode commas in user names, passwords and virtual hosts as %2C"
    )]
    Comma,
    #[error(
        "it can't be parsed; percent-encode special characters in user names, passwords and \
         virtual hosts, such as / as %2F, @ as %40 and , as %2C"
    )]
    Syntax,
}

/// Parses addresses that are separated by commas.
pub(super) fn parse(addresses: &str) -> Result<Vec<AMQPUri>, InvalidAddress> {
    let addresses = split(addresses);
    let count = addresses.len();
    let parsed = addresses.into_iter().zip(1..).map(|(address, number)| {
        parse_one(address.trim()).map_err(|fault| InvalidAddress {
            number,
            count,
            fault,
        })
    });
    parsed.collect()
}

/// Splits at the commas behind which an address begins: any other one is part of an address.
fn split(addresses: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = addresses;
    let mut from = 0;
    while let Some(comma) = rest[from..].find(',') {
        let (address, next) = (&rest[..from + comma], &rest[from + comma + 1..]);
        if has_scheme(next.trim_start()) {
            parts.push(address);
            rest = next;
            from = 0;
        } else {
            from += comma + 1;
        }
    }
    parts.push(rest);
    parts
}

fn has_scheme(address: &str) -> bool {
    let begins_with = |scheme: &str| {
        let head = address.get(..scheme.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(scheme))
    };
    begins_with("amqp://") || begins_with("amqps://")
}

fn parse_one(address: &str) -> Result<AMQPUri, Fault> {
    if address.contains(',') {
        return Err(Fault::Comma);
    }
    if !has_scheme(address) {
        return Err(Fault::Scheme);
    }
    // The parser's own message may quote what it was given.
    let mut address: AMQPUri = address.parse().map_err(|_| Fault::Syntax)?;
    address.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(addresses: &str) -> Vec<String> {
        let addresses = parse(addresses).expect("they are addresses");
        addresses.into_iter().map(|a| a.authority.host).collect()
    }

    #[test]
    fn addresses_are_separated_by_commas() {
        let addresses = "amqp://a:b@one:1/v, AMQPS://a:b@two,amqp://three";
        assert_eq!(hosts(addresses), ["one", "two", "three"]);
    }

    #[test]
    fn a_percent_encoded_comma_is_part_of_the_password() {
        let addresses = parse("amqp://user:pa%2Css@one,amqp://two").expect("they are addresses");
        assert_eq!(addresses.len(), 2);
        assert_eq!(addresses[0].authority.userinfo.password, "pa,ss");
    }

    #[test]
    fn a_comma_inside_an_address_is_refused_with_its_remedy_and_without_the_password() {
        for address in [
            "amqp://user:s3cr,et@host",
            "amqp://one,amqp://user:s3cr,et@host",
            "amqp://user:s3cr,amqp://et@host",
            "amqp://host,",
        ] {
            let error = parse(address).expect_err(address).to_string();
            assert!(error.contains("%2C"), "{error}");
            assert!(!error.contains("s3cr"), "{error}");
        }
    }

    #[test]
    fn no_error_repeats_a_part_of_the_address() {
        for address in [
            "s3cret://host",
            "s3cret",
            "",
            "http://user:s3cret@host",
            "amqp://user:s3cret/x@host",
            "amqp://host?heartbeat=s3cret",
            "amqp://host:s3cret",
        ] {
            let error = parse(address).expect_err(address);
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn the_heartbeat_of_an_address_takes_precedence_over_the_default() {
        let addresses = parse("amqp://one,amqp://two?heartbeat=25").expect("they are addresses");
        let heartbeats: Vec<_> = addresses.iter().map(|a| a.query.heartbeat).collect();
        assert_eq!(heartbeats, [Some(HEARTBEAT_SECONDS), Some(25)]);
    }
}
