//! The layout of what a publisher writes: whether the AMQP client can read it, and safely.

use std::ops::Range;

/// Tables and arrays within each other. The client's parser takes a piece of its stack for each.
const DEEPEST: usize = 16;
/// Headers, the values in arrays among them. Each takes more memory than it does on the wire.
const MOST_VALUES: usize = 1024;

/// A property, in the order in which they come. Bit 15 of the flags says whether the first is there.
enum Property {
    ShortString(&'static str),
    Headers,
    /// A number of so many bytes.
    Number(usize),
}

const PROPERTIES: [Property; 14] = [
    Property::ShortString("content type"),
    Property::ShortString("content encoding"),
    Property::Headers,
    Property::Number(1),
    Property::Number(1),
    Property::ShortString("correlation id"),
    Property::ShortString("reply-to"),
    Property::ShortString("expiration"),
    Property::ShortString("message id"),
    Property::Number(8),
    Property::ShortString("type"),
    Property::ShortString("user id"),
    Property::ShortString("app id"),
    Property::ShortString("cluster id"),
];

/// What stands against giving properties to the client, if anything does.
pub(super) fn objection(properties: &[u8]) -> Option<String> {
    let mut reader = Reader {
        bytes: properties,
        values: 0,
    };
    reader.properties().err()
}

/// Properties that are one header with a text.
pub(super) fn with_header(name: &str, text: &str) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let headers = 1u16 << 13;
    let mut properties = headers.to_be_bytes().to_vec();
    properties.extend(length(1 + name.len() + 1 + 4 + text.len()));
    properties.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    properties.extend(name.as_bytes());
    properties.push(b'S');
    properties.extend(length(text.len()));
    properties.extend(text.as_bytes());
    properties
}

/// Where exchange and routing key stand in a method frame that hands over a message.
pub(super) fn publishers_strings(method: &[u8]) -> Option<[(&'static str, Range<usize>); 2]> {
    let (class_and_method, _) = method.split_at_checked(4)?;
    let exchange = match class_and_method {
        // basic.return: the code and the text of the reason.
        [0, 60, 0, 50] => short_string(method, 6)?.end,
        // basic.deliver: the consumer, the delivery tag, whether it comes again.
        [0, 60, 0, 60] => short_string(method, 4)?.end + 9,
        // basic.get-ok: the delivery tag, whether it comes again.
        [0, 60, 0, 71] => 13,
        _ => return None,
    };
    let exchange = short_string(method, exchange)?;
    let routing_key = short_string(method, exchange.end)?;
    Some([("exchange", exchange), ("routing key", routing_key)])
}

/// The text of the short string whose length stands at `at`.
fn short_string(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let length = usize::from(*bytes.get(at)?);
    let text = at + 1..at + 1 + length;
    (text.end <= bytes.len()).then_some(text)
}

/// Reads along, keeping nothing.
struct Reader<'a> {
    bytes: &'a [u8],
    values: usize,
}

type Read<T> = Result<T, String>;

impl<'a> Reader<'a> {
    fn properties(&mut self) -> Read<()> {
        let flags = self.take(2)?;
        let flags = u16::from(flags[0]) << 8 | u16::from(flags[1]);
        for (index, property) in PROPERTIES.iter().enumerate() {
            if flags & (1 << (15 - index)) == 0 {
                continue;
            }
            match property {
                Property::ShortString(what) => self.short_string(what)?,
                Property::Headers => self.table(1)?,
                Property::Number(size) => drop(self.take(*size)?),
            }
        }
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err("its properties are longer than what they hold".to_owned())
        }
    }

    fn table(&mut self, depth: usize) -> Read<()> {
        let mut entries = self.within(depth)?;
        while !entries.bytes.is_empty() {
            entries.short_string("header name")?;
            entries.value(depth)?;
        }
        self.values = entries.values;
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Read<()> {
        let mut entries = self.within(depth)?;
        while !entries.bytes.is_empty() {
            entries.value(depth)?;
        }
        self.values = entries.values;
        Ok(())
    }

    /// A reader of a table or an array.
    fn within(&mut self, depth: usize) -> Read<Self> {
        if depth > DEEPEST {
            return Err(format!(
                "its headers are nested deeper than {DEEPEST} levels"
            ));
        }
        Ok(Self {
            bytes: self.long_string()?,
            values: self.values,
        })
    }

    /// The types of RabbitMQ, which differ from those of the AMQP specification.
    fn value(&mut self, depth: usize) -> Read<()> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(format!(
                "it has more than {MOST_VALUES} values in its headers"
            ));
        }
        let kind = self.take(1)?[0];
        match kind {
            b'V' => {}
            b't' | b'b' | b'B' => drop(self.take(1)?),
            b's' | b'U' | b'u' => drop(self.take(2)?),
            b'I' | b'i' | b'f' => drop(self.take(4)?),
            b'D' => drop(self.take(5)?),
            b'L' | b'l' | b'd' | b'T' => drop(self.take(8)?),
            b'S' | b'x' => drop(self.long_string()?),
            b'A' => self.array(depth + 1)?,
            b'F' => self.table(depth + 1)?,
            _ => {
                let kind = kind.escape_ascii();
                return Err(format!(
                    "its headers hold a value of the unknown type `{kind}`"
                ));
            }
        }
        Ok(())
    }

    fn short_string(&mut self, what: &str) -> Read<()> {
        let length = self.take(1)?[0];
        let text = self.take(length.into())?;
        if std::str::from_utf8(text).is_ok() {
            return Ok(());
        }
        Err(format!("its {what} is not UTF-8"))
    }

    fn long_string(&mut self) -> Read<&'a [u8]> {
        let length = self.take(4)?;
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.take(length)
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            return Err("its properties end in the middle".to_owned());
        };
        self.bytes = rest;
        Ok(taken)
    }
}
