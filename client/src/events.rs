//! What happens in the broker, as it happens.

use tonic::Streaming;
use weir_proto::v1;
pub use weir_proto::v1::event::Kind;
pub use weir_proto::v1::{Event, EventKind};

use crate::connection::Client;
use crate::error::Error;

/// What to listen to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    /// Only what happens to this stream, which need not exist; all where it is none.
    pub stream: Option<String>,
    /// Only these kinds, and [`Kind::Missed`]; all where it is empty.
    pub kinds: Vec<EventKind>,
    /// Begin with what happened before, as far as the broker has kept it.
    pub replay: bool,
}

/// Events, in the order in which they happened. A listener that reads too slowly is told how many
/// it missed.
#[derive(Debug)]
pub struct Events {
    answers: Streaming<Event>,
}

impl Events {
    pub(crate) async fn begin(client: &Client, watch: Watch) -> Result<Events, Error> {
        let request = v1::WatchRequest {
            stream: watch.stream.unwrap_or_default(),
            kinds: watch.kinds.into_iter().map(i32::from).collect(),
            replay: watch.replay,
        };
        let call = || {
            let (mut events, request) = (client.events(), request.clone());
            async move { Ok(events.watch(request).await?.into_inner()) }
        };
        Ok(Events { answers: client.retry().run(call).await? })
    }

    /// The next event, when it happens; none when the broker has ended the call. May be dropped
    /// and called again.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        Ok(self.answers.message().await?)
    }
}
