//! JSON bodies, refused with the place and the reason.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::problem::Problem;
use crate::violations::Violation;

/// The largest body that is read, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// How much of a body a refusal may repeat, in characters.
const MAX_ECHO: usize = 100;

/// A body in JSON.
///
/// Refuses with 415 what does not say it is JSON, with 413 what is over [`MAX_BODY`], with 400
/// what is no JSON and with 422 what does not fit `T`. Give `T` `#[serde(deny_unknown_fields)]`,
/// and unknown fields are refused by name.
#[derive(Debug, Clone, Copy)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                .with_detail("The body has to be `application/json`.")
                .with_header(header::ACCEPT, HeaderValue::from_static("application/json")));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(unreadable)?;
        parse(&bytes).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    let essence = value.to_str().unwrap_or_default().split(';').next();
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The problem of a body that could not be read to its end.
pub(crate) fn unreadable(rejection: BytesRejection) -> Problem {
    let status = rejection.status();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::of_status(status).with_detail(format!("At most {MAX_BODY} bytes are read."))
    } else {
        Problem::of_status(StatusCode::BAD_REQUEST)
            .with_detail("The body could not be read to its end.")
            .caused_by(rejection)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        refuse(pointer, error.inner())
    })?;
    json.end().map_err(|error| refuse(String::new(), &error))?;
    Ok(value)
}

/// The problem of JSON that was refused. It may repeat the beginning of a value to the client who
/// sent it, and is logged nowhere.
fn refuse(pointer: String, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    // Line and column help with JSON that is broken; in JSON that is not, the pointer says it
    // better.
    match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => Problem::new(
            StatusCode::BAD_REQUEST,
            "unreadable-json",
            "The body is not readable JSON",
        )
        .with_detail(message),
        Category::Data => {
            let message = message
                .rsplit_once(" at line ")
                .map_or(&*message, |(reason, _)| reason);
            let pointer = field_pointer(pointer, message);
            Problem::invalid(vec![Violation::field(pointer, shortened(message))])
        }
    }
}

/// A message of serde with the beginning of the value that it quotes, and what was expected.
fn shortened(message: &str) -> String {
    let (quoting, expected) = match message.rsplit_once(", expected ") {
        Some((quoting, expected)) => (quoting, Some(expected)),
        None => (message, None),
    };
    let mut short = beginning(quoting);
    if let Some(expected) = expected {
        short.push_str(", expected ");
        short.push_str(&beginning(expected));
    }
    short
}

fn beginning(text: &str) -> String {
    match text.char_indices().nth(MAX_ECHO) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Missing and unknown fields are reported at the object they belong to; the pointer should name
/// the field itself.
fn field_pointer(parent: String, message: &str) -> String {
    let named = ["missing field `", "unknown field `"]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix))
        .and_then(|rest| rest.split('`').next());
    let Some(field) = named else { return parent };
    let segment = format!("/{}", escape(field));
    if parent.ends_with(&segment) {
        parent
    } else {
        parent + &segment
    }
}

/// The path as a JSON pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", escape(key)),
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        })
        .collect()
}

fn escape(key: &str) -> String {
    beginning(key).replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the way it is refused matters")]
    struct Basket {
        owner: String,
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the way it is refused matters")]
    struct Line {
        quantity: u32,
    }

    fn refusal(body: &str) -> (u16, Value) {
        let problem = parse::<Basket>(body.as_bytes()).expect_err("must be refused");
        let body = serde_json::to_value(problem.body("/", None)).unwrap();
        (problem.status().as_u16(), body["errors"].clone())
    }

    #[test]
    fn a_wrong_type_is_pointed_at() {
        let (status, errors) =
            refusal(r#"{"owner":"Ada","lines":[{"quantity":1},{"quantity":"x"}]}"#);
        assert_eq!(status, 422);
        assert_eq!(
            errors,
            json!([{
                "pointer": "/lines/1/quantity",
                "detail": "invalid type: string \"x\", expected u32"
            }])
        );
    }

    #[test]
    fn a_missing_field_is_pointed_at_by_its_own_name() {
        let (status, errors) = refusal(r#"{"owner":"Ada","lines":[{}]}"#);
        assert_eq!(status, 422);
        assert_eq!(errors[0]["pointer"], "/lines/0/quantity");
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let (status, errors) = refusal(r#"{"owner":"Ada","lines":[],"a/b":1}"#);
        assert_eq!(status, 422);
        assert_eq!(errors[0]["pointer"], "/a~1b");
        assert!(
            errors[0]["detail"]
                .as_str()
                .unwrap()
                .starts_with("unknown field `a/b`")
        );
    }

    #[test]
    fn at_most_the_beginning_of_a_value_or_a_key_is_repeated() {
        let long = "x".repeat(10_000);
        let body = json!({ "owner": "Ada", "lines": [{ "quantity": long }] });
        let (_, errors) = refusal(&body.to_string());
        let detail = errors[0]["detail"].as_str().unwrap();
        assert!(detail.starts_with("invalid type: string \"xxx"), "{detail}");
        assert!(detail.ends_with("x…, expected u32"), "{detail}");
        assert!(detail.chars().filter(|c| *c == 'x').count() <= 101);
        let (_, errors) = refusal(&json!({ "owner": "Ada", "lines": [], long: 1 }).to_string());
        assert!(errors.to_string().len() < 400, "{errors}");
    }

    #[test]
    fn broken_json_and_trailing_text_are_unreadable() {
        assert_eq!(refusal(r#"{"owner":"#).0, 400);
        assert_eq!(refusal(r#"{"owner":"Ada","lines":[]} more"#).0, 400);
        assert_eq!(refusal("").0, 400);
    }
}
