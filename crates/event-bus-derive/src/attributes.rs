//! The attribute `#[message(…)]`: what it may say, and what is wrong with it if it can't be used.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::{DeriveInput, Error, Ident, LitInt, LitStr, Path, Result};

/// The longest routing key of AMQP 0-9-1, in bytes.
const LONGEST_NAME: usize = 255;

/// What the attributes of a type say, each part at most once.
pub(crate) struct MessageAttributes {
    pub(crate) kind: MessageKind,
    pub(crate) name: LitStr,
    pub(crate) version: Option<LitInt>,
    pub(crate) mandatory: bool,
    pub(crate) key: Option<Ident>,
    pub(crate) upcast: Option<Path>,
    pub(crate) schema: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageKind {
    Event,
    Command,
    Query,
}

/// Parts as they are parsed, before it is known whether the required ones are there.
#[derive(Default)]
struct Parts {
    kind: Option<MessageKind>,
    name: Option<LitStr>,
    version: Option<LitInt>,
    mandatory: Option<Span>,
    key: Option<Ident>,
    upcast: Option<Path>,
    schema: Option<Span>,
}

impl MessageAttributes {
    pub(crate) fn of(input: &DeriveInput) -> Result<Self> {
        let mut parts = Parts::default();
        for attribute in &input.attrs {
            if attribute.path().is_ident("message") {
                attribute.parse_nested_meta(|meta| parts.take(&meta))?;
            }
        }
        parts.complete(&input.ident)
    }
}

impl Parts {
    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let Some(part) = meta.path.get_ident() else {
            return Err(meta.error("unknown part of `message`"));
        };
        let span = part.span();
        match part.to_string().as_str() {
            "event" => self.set_kind(meta, MessageKind::Event),
            "command" => self.set_kind(meta, MessageKind::Command),
            "query" => self.set_kind(meta, MessageKind::Query),
            "name" => set(meta, &mut self.name, checked_name(meta.value()?.parse()?)?),
            "version" => {
                let version = checked_version(meta.value()?.parse()?)?;
                set(meta, &mut self.version, version)
            }
            "mandatory" => set(meta, &mut self.mandatory, span),
            "key" => set(meta, &mut self.key, meta.value()?.parse()?),
            "upcast" => set(meta, &mut self.upcast, meta.value()?.parse()?),
            "schema" => set(meta, &mut self.schema, span),
            _ => Err(meta.error(
                "unknown part of `message`: expected `event`, `command`, `query`, `name`, \
                 `version`, `mandatory`, `key`, `upcast` or `schema`",
            )),
        }
    }

    fn set_kind(&mut self, meta: &ParseNestedMeta<'_>, kind: MessageKind) -> Result<()> {
        match self.kind.replace(kind) {
            None => Ok(()),
            Some(_) => Err(meta.error("a message has one kind, and another one is set before")),
        }
    }

    fn complete(self, message: &Ident) -> Result<MessageAttributes> {
        let missing = |what: &str| Error::new(message.span(), format!("a message needs {what}"));
        let kind = self.kind.ok_or_else(|| {
            missing("a kind: `#[message(event, …)]`, or `command` or `query` instead of `event`")
        })?;
        let name = self.name.ok_or_else(|| {
            missing("a name: `#[message(…, name = \"service.entity.happened\")]`")
        })?;
        if let Some(span) = self.mandatory
            && kind != MessageKind::Event
        {
            let reason = "only an event can be `mandatory`: a command always is, a query never";
            return Err(Error::new(span, reason));
        }
        if let (Some(upcast), None) = (&self.upcast, &self.version) {
            let reason = "`upcast` reads older versions, and without `version` there is none";
            return Err(Error::new_spanned(upcast, reason));
        }
        Ok(MessageAttributes {
            kind,
            name,
            version: self.version,
            mandatory: self.mandatory.is_some(),
            key: self.key,
            upcast: self.upcast,
            schema: self.schema.is_some(),
        })
    }
}

fn set<T>(meta: &ParseNestedMeta<'_>, part: &mut Option<T>, value: T) -> Result<()> {
    match part.replace(value) {
        None => Ok(()),
        Some(_) => Err(meta.error("this is set twice")),
    }
}

fn checked_name(name: LitStr) -> Result<LitStr> {
    let text = name.value();
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_word = |word: &str| !word.is_empty() && word.chars().all(is_letter);
    if !text.split('.').all(is_word) {
        let reason = "a name is made of words of a–z, 0–9 and `_`, separated by dots";
        return Err(Error::new(name.span(), reason));
    }
    if text.len() > LONGEST_NAME {
        let reason = format!("a name has at most {LONGEST_NAME} bytes");
        return Err(Error::new(name.span(), reason));
    }
    Ok(name)
}

fn checked_version(version: LitInt) -> Result<LitInt> {
    match version.base10_parse::<u32>()? {
        0 => Err(Error::new(version.span(), "versions begin with 1")),
        _ => Ok(version),
    }
}
