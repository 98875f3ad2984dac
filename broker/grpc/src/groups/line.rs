//! The way to one member: what it is told, and what ends the call whatever is said on it.
//!
//! A line ends when the client has let go of the call, when another call takes the member's place
//! (`places`), and when the server stops. It holds no more than [`UNREAD_MAX`] unread messages: who
//! does not read them is waited for as long as it may be silent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::Stream;
use tonic::{Code, Status};
use weir_core::alarm::Alarm;
use weir_core::broker::Broker;
use weir_model::time::Moment;
use weir_proto::v1::JoinResponse;
use weir_proto::v1::error_detail::Reason;
use weir_proto::v1::join_response::Message as Tells;

use crate::errors::Refusal;
use crate::groups::GroupsService;
use crate::groups::places::Place;
use crate::server::turned_true;

/// Most messages that wait for a member to read them.
const UNREAD_MAX: usize = 8;
/// How long a call may be open before its first message.
const BEGIN_WAIT_MAX: Duration = Duration::from_secs(30);

/// The way to the member, and what cuts it.
pub(crate) struct Line {
    pub(crate) broker: Arc<Broker>,
    messages: mpsc::Sender<JoinResponse>,
    stopped: watch::Receiver<bool>,
    /// None before the member is known.
    pub(crate) place: Option<Place>,
    /// When the member was last heard.
    pub(crate) heard_at: Moment,
    /// How long it may be silent.
    pub(crate) session: Duration,
}

/// What the broker says to one member, and how the call ends.
#[derive(Debug)]
pub(crate) struct Said {
    messages: mpsc::Receiver<JoinResponse>,
    /// Is there before the last message goes, if the call ends with an error.
    error: Option<oneshot::Receiver<Status>>,
}

impl Stream for Said {
    type Item = Result<JoinResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(message) = ready!(self.messages.poll_recv(context)) {
            return Poll::Ready(Some(Ok(message)));
        }
        let error = self.error.take().and_then(|mut error| error.try_recv().ok());
        Poll::Ready(error.map(Err))
    }
}

/// The error that a call may end with.
#[derive(Debug)]
pub(crate) struct Last {
    error: oneshot::Sender<Status>,
    /// Keeps the messages from ending before the error that stands behind them is there.
    _open: mpsc::Sender<JoinResponse>,
}

impl Last {
    pub(crate) fn say(self, refusal: Refusal) {
        // Who is gone does not hear it.
        let _ = self.error.send(Status::from(refusal));
    }
}

/// Why a call ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client has ended the call, or is gone.
    Gone,
    /// The member said that it goes for good.
    Left,
    /// It did not answer in its session timeout.
    Silent,
    /// It did something that cannot be; it is out of the group.
    Wrong(Refusal),
    /// The group has it no more, or never had.
    Over(Refusal),
    /// Another call speaks for it now.
    TakenOver,
    /// The server stops. The member has its place until its session is over.
    Stopped,
}

impl End {
    /// Why a call ends whose next message could not be read: its client is gone, or what it sent is
    /// no message, or too large a one.
    pub(crate) fn of(status: &Status) -> End {
        match status.code() {
            Code::Internal | Code::InvalidArgument | Code::OutOfRange | Code::ResourceExhausted => {
                End::Wrong(Refusal::invalid(status.message()))
            }
            _ => End::Gone,
        }
    }

    /// What the client is told in the end.
    pub(crate) fn told(self) -> Result<(), Refusal> {
        match self {
            End::Gone | End::Left => Ok(()),
            End::Silent => {
                Err(Refusal::new(Reason::Silent, "nothing was heard for the session timeout"))
            }
            End::Wrong(refusal) | End::Over(refusal) => Err(refusal),
            End::TakenOver => {
                Err(Refusal::new(Reason::TakenOver, "another call has joined as this member"))
            }
            End::Stopped => Err(Refusal::stopping()),
        }
    }
}

impl Line {
    /// A line that nobody has spoken on, what the client hears of it, and the last it may hear.
    pub(crate) fn begin(service: &GroupsService) -> (Line, Said, Last) {
        let (messages, told) = mpsc::channel(UNREAD_MAX);
        let (error, last) = oneshot::channel();
        let open = messages.clone();
        let line = Line {
            broker: Arc::clone(&service.broker),
            messages,
            stopped: service.stopped.clone(),
            place: None,
            heard_at: service.broker.clock().moment(),
            session: BEGIN_WAIT_MAX,
        };
        (line, Said { messages: told, error: Some(last) }, Last { error, _open: open })
    }

    /// Says something to the member, as soon as it has read enough of what was said before.
    pub(crate) async fn tell(&mut self, message: Tells) -> Result<(), End> {
        let messages = self.messages.clone();
        let broker = Arc::clone(&self.broker);
        let mut silence = Alarm::for_client(broker.clock());
        let silent_at = self.silent_at();
        let message = JoinResponse { message: Some(message) };
        tokio::select! {
            biased;
            sent = messages.send(message) => sent.map_err(|_| End::Gone),
            end = self.cut() => Err(end),
            () = silence.at(silent_at) => Err(End::Silent),
        }
    }

    /// When the member has said nothing for too long.
    pub(crate) fn silent_at(&self) -> Moment {
        self.heard_at.plus(self.session)
    }

    /// Returns when the call is to end, whatever is said on it.
    pub(crate) async fn cut(&mut self) -> End {
        let place = &mut self.place;
        let taken = async {
            match place {
                Some(place) => place.taken().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.messages.closed() => End::Gone,
            () = taken => End::TakenOver,
            () = turned_true(&mut self.stopped) => End::Stopped,
        }
    }
}
