//! Pages of a list, each with an opaque cursor to the next one.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// What is on this page, in the order of the list.
    pub items: Vec<T>,
    /// Cursor of the next page, to be passed as `cursor`; null on the last page.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page out of up to `limit + 1` rows: a row more than asked for says that there is a next
    /// page, which begins after the last row of this one.
    ///
    /// `key` is what the list is sorted by, unique for each row.
    pub fn from_rows<K: Serialize>(
        mut rows: Vec<T>,
        limit: PageLimit,
        key: impl FnOnce(&T) -> K,
    ) -> Self {
        let has_more = rows.len() > limit.get();
        rows.truncate(limit.get());
        let next = rows
            .last()
            .filter(|_| has_more)
            .map(|last| Cursor(key(last)).encode());
        Self { items: rows, next }
    }

    /// The same page with each item as something else.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(f).collect(),
            next: self.next,
        }
    }
}

/// How many items are on a page: 1–100, 20 if nothing is said.
///
/// In the OpenAPI document it shows its range with `#[param(inline, required = false)]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit(u8);

impl PageLimit {
    const DEFAULT: u8 = 20;
    const MAX: u8 = 100;

    /// The number of items.
    #[must_use]
    pub fn get(self) -> usize {
        usize::from(self.0)
    }

    /// The number of rows to ask for: one more, to know whether there is a next page.
    #[must_use]
    pub fn rows(self) -> i64 {
        i64::from(self.0) + 1
    }
}

impl Default for PageLimit {
    fn default() -> Self {
        Self(Self::DEFAULT)
    }
}

impl<'de> Deserialize<'de> for PageLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = u8::deserialize(deserializer).map_err(|_| D::Error::custom(LimitRange))?;
        if (1..=Self::MAX).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err(D::Error::custom(LimitRange))
        }
    }
}

struct LimitRange;

impl fmt::Display for LimitRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must be a whole number from 1 to {}", PageLimit::MAX)
    }
}

impl ToSchema for PageLimit {}

impl PartialSchema for PageLimit {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(Self::MAX))
            .default(Some(Self::DEFAULT.into()))
            .into()
    }
}

/// Where a page begins: after the item with this key. Opaque to clients.
///
/// As a query parameter it is the text of an earlier [`Page::next`]; `K` is what the list is
/// sorted by. To the OpenAPI document it is text: `#[param(value_type = Option<String>)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor<K>(pub K);

impl<K: Serialize> Cursor<K> {
    /// The cursor as text for a URL.
    #[must_use]
    pub fn encode(&self) -> String {
        // A key is made of ids, times and names, which always have a JSON form.
        let json = serde_json::to_vec(&self.0).unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.encode(json)
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Cursor<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the `next` of an earlier page")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
                BASE64_URL_SAFE_NO_PAD
                    .decode(text)
                    .map_err(|_| E::custom("is not the `next` of an earlier page"))
            }
        }
        let json = deserializer.deserialize_str(Text)?;
        serde_json::from_slice(&json)
            .map(Self)
            .map_err(|_| D::Error::custom("is not the `next` of an earlier page"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_too_many_becomes_the_cursor_of_the_next_page() {
        let limit: PageLimit = serde_json::from_value(json!(2)).unwrap();
        let page = Page::from_rows(vec!["a", "b", "c"], limit, |name| (*name).to_owned());
        assert_eq!(page.items, ["a", "b"]);
        let cursor: Cursor<String> = serde_json::from_value(json!(page.next.unwrap())).unwrap();
        assert_eq!(cursor.0, "b");
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let page = Page::from_rows(vec![1, 2], PageLimit::default(), |number| *number);
        assert_eq!(page.next, None);
    }

    #[test]
    fn a_limit_out_of_range_and_a_foreign_cursor_are_refused() {
        for limit in [json!(0), json!(101), json!(-1), json!("many")] {
            assert!(serde_json::from_value::<PageLimit>(limit).is_err());
        }
        for cursor in [json!("%%"), json!("bm9wZQ"), json!(7)] {
            assert!(serde_json::from_value::<Cursor<u32>>(cursor).is_err());
        }
    }
}
