//! W3C trace context, from one process through a handler to the next.

use std::sync::OnceLock;

use event_bus::Message as _;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use opentelemetry::trace::{SpanKind, TracerProvider as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::json;
use tracing_subscriber::layer::SubscriberExt as _;
use uuid::Uuid;

use crate::support::{BOUND, Client, Ground, OrderPlaced, StockReserved};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const STATE: &str = "vendor=t61rcWkgMzE,other=1";

/// Where all spans of this process go.
fn exporter() -> &'static InMemorySpanExporter {
    static EXPORTER: OnceLock<InMemorySpanExporter> = OnceLock::new();
    EXPORTER.get_or_init(|| {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("tests"));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber).expect("it is the first one");
        exporter
    })
}

/// The spans of a trace, once there are any.
async fn spans_of(trace: &str) -> Vec<SpanData> {
    test_servers::eventually("the span has ended", BOUND, async || {
        let mut spans = exporter().get_finished_spans().ok()?;
        spans.retain(|span| span.span_context.trace_id().to_string() == trace);
        (!spans.is_empty()).then_some(spans)
    })
    .await
}

fn header(delivery: &Delivery, name: &str) -> Option<String> {
    match delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    }
}

#[tokio::test]
async fn a_trace_goes_on_through_the_handler_to_what_it_publishes() {
    let exporter = exporter();
    let ground = Ground::new().await;
    let client = Client::connect(&ground).await;
    let mut published = client.tap(StockReserved::NAME).await;
    let (_stock, mut heard) = ground.listening_stock().await;
    exporter.reset();

    let text = |value: &str| AMQPValue::LongString(value.into());
    let mut headers = FieldTable::default();
    headers.insert(
        "traceparent".into(),
        text(&format!("00-{TRACE}-{PARENT}-01")),
    );
    headers.insert("tracestate".into(), text(STATE));
    let properties = BasicProperties::default()
        .with_message_id(Uuid::now_v7().to_string().into())
        .with_type(OrderPlaced::NAME.into())
        .with_headers(headers);
    let body = json!({ "orderId": Uuid::nil(), "quantity": 1 }).to_string();
    client.publish(properties, body.as_bytes()).await;
    assert_eq!(heard.next().await.trace_id(), Some(TRACE));

    let spans = spans_of(TRACE).await;
    let [span] = &spans[..] else {
        panic!("one handler is one span: {spans:#?}");
    };
    assert_eq!(span.name, format!("process {}", OrderPlaced::NAME));
    assert_eq!(span.span_kind, SpanKind::Consumer);
    assert_eq!(span.parent_span_id.to_string(), PARENT);
    assert!(span.parent_span_is_remote);

    let effect = published.next().await;
    let within = format!("00-{TRACE}-{}-01", span.span_context.span_id());
    assert_eq!(header(&effect, "traceparent"), Some(within));
    assert_eq!(header(&effect, "tracestate").as_deref(), Some(STATE));
}
