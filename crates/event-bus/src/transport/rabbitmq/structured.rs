//! CloudEvents in structured mode: attributes and data in one JSON object.
//!
//! The bus writes binary mode alone. This is for publishers whose library writes the other one.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::decode::summary;

/// What all media types of structured events begin with.
const FAMILY: &str = "application/cloudevents";
/// The one that is read here.
const JSON: &str = "application/cloudevents+json";

/// An event, with its members still encoded.
#[derive(Debug)]
pub(super) struct Structured<'a>(HashMap<String, &'a RawValue>);

impl<'a> Structured<'a> {
    /// Reads a body of this content type, unless that is one of binary mode.
    pub(super) fn read(content_type: &str, body: &'a [u8]) -> Result<Option<Self>, String> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let media_type = media_type.to_ascii_lowercase();
        if !media_type.starts_with(FAMILY) {
            return Ok(None);
        }
        if media_type != JSON {
            return Err(format!(
                "its content type is another one of CloudEvents than `{JSON}`: send events one by one, in binary mode or as that"
            ));
        }
        let members = serde_json::from_slice(body)
            .map_err(|error| format!("its body is no structured event: {}", summary(&error)))?;
        let event = Self(members);
        event.check()?;
        Ok(Some(event))
    }

    /// Nothing that is stored as text may hold a NUL, which PostgreSQL takes nowhere.
    fn check(&self) -> Result<(), String> {
        for name in self.0.keys().filter(|name| *name != "data") {
            let holds_nul = self.attribute(name).is_some_and(|text| text.contains('\0'));
            if holds_nul || name.contains('\0') {
                return Err("one of its attributes holds a NUL".to_owned());
            }
        }
        Ok(())
    }

    /// An attribute as text, if it is there and is text or a number.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let value = self.0.get(name)?.get();
        match value.as_bytes().first()? {
            b'"' => serde_json::from_str(value).ok(),
            b'-' | b'0'..=b'9' => Some(value.to_owned()),
            _ => None,
        }
    }

    /// The event's data, a part of the body it was read from.
    pub(super) fn data(&self, body: &Bytes) -> Result<Bytes, String> {
        if self.0.contains_key("data_base64") {
            return Err("its data is in base64, and the data of a message is JSON".to_owned());
        }
        Ok(match self.0.get("data") {
            Some(data) => body.slice_ref(data.get().as_bytes()),
            None => Bytes::new(),
        })
    }
}
