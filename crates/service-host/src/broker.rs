//! Stands in until the transport over RabbitMQ is there.
use event_bus::{Capabilities, Envelope, Group, Settlement, Subscription, Transport};

#[derive(Debug)]
pub(crate) struct Absent;

#[async_trait::async_trait]
impl Transport for Absent {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: true,
            delivery_limit: true,
            distributed: true,
        }
    }
    async fn publish(
        &self,
        _messages: Vec<Envelope>,
    ) -> futures::future::BoxFuture<'static, Vec<Settlement>> {
        Box::pin(std::future::pending())
    }
    async fn subscribe(&self, _group: Group) -> Subscription {
        std::future::pending().await
    }
    fn connected(&self) -> bool {
        false
    }
    async fn close(&self) {}
}
