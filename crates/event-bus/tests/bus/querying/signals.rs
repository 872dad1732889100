//! What is measured of queries.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::{GetPrice, PriceList, SHORT, ask, asker, start_answering};
use crate::support::Ground;

/// Keeps which histograms were recorded to, with their labels.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeSet<String>>>);

struct OfKey(String, Seen);

impl HistogramFn for OfKey {
    fn record(&self, seconds: f64) {
        assert!(seconds > 0.0);
        let mut seen = self.1.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(self.0.clone());
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let labels: Vec<_> = key.labels().map(metrics::Label::value).collect();
        let key = format!("{} {}", key.name(), labels.join(" "));
        Histogram::from_arc(Arc::new(OfKey(key, self.clone())))
    }
}

/// On one thread, since the recorder is that thread's.
#[tokio::test]
async fn every_request_is_measured_with_its_outcome() {
    let seen = Seen::default();
    let _recording = metrics::set_default_local_recorder(&seen);
    let ground = Ground::in_memory().await;
    let shop = asker(&ground).await;
    assert!(ask(&shop, 1).await.is_err(), "nobody answers yet");
    let stock = ground.participant("stock").await.answer(PriceList);
    let stock = start_answering(&shop.bus, stock).await;
    ask(&shop, 1).await.expect("an answer");
    stock.stop().await;
    let timed_out = shop.bus.request(&GetPrice { product: 1 }, SHORT).await;
    assert!(timed_out.is_err(), "nobody is there");
    drop(futures::poll!(Box::pin(ask(&shop, 1)).as_mut()));
    shop.stop().await;
    let seen = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
    let seen: Vec<_> = seen.iter().map(String::as_str).collect();
    let of_queries = [
        "event_bus.request.duration stock.price.get answered",
        "event_bus.request.duration stock.price.get dropped",
        "event_bus.request.duration stock.price.get nobody_answers",
        "event_bus.request.duration stock.price.get refused",
        "event_bus.request.duration stock.price.get timed_out",
        "event_bus.respond.duration stock.price.get answered",
        "event_bus.respond.duration stock.price.get refused",
    ];
    assert_eq!(seen, of_queries);
}
