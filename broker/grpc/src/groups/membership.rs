//! One call of `Join`: a member of a group for as long as the call is open.
//!
//! ```text
//!   begin ──> Beat(epoch 0) ──> the coordinator          Assignment ──> member
//!   progress of the group, a tick, released ──> Beat ──> what it has now
//!   silence, the end of the call ──> Leave
//! ```
//!
//! The member has no timer. The call makes the heartbeats of KIP-848 for it: when the group has
//! moved, which the coordinator tells at once, when the member has released something, and from
//! time to time. A live connection is no live member, so one that says nothing is asked
//! (`still_there`), and is out of the group when it does not answer for its session timeout.
//!
//! A task of its own drives the call, since a member that does not read would otherwise stop the
//! heartbeats, and since whoever is cancelled has to leave. It ends with its line.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic::Streaming;
use weir_core::alarm::Alarm;
use weir_core::broker::Broker;
use weir_core::group::classic::Client;
use weir_core::group::coordinator::OffsetToCommit;
use weir_core::group::error::GroupError;
use weir_core::group::identity::{Claim, GroupId, InstanceId, MemberId};
use weir_core::group::modern::Progress;
use weir_core::group::modern::heartbeat::{
    Beat, ConsumerHeartbeat, Going, HeartbeatRefused, Returns, Standing,
};
use weir_core::group::modern::member::JOINING_EPOCH;
use weir_model::time::Moment;
use weir_proto::v1::error_detail::Reason;
use weir_proto::v1::join_request::Message as Says;
use weir_proto::v1::join_response::Message as Tells;
use weir_proto::v1::{
    AcknowledgeResponse, AssignedPartition, Assignment, JoinRequest, NewPosition, StillThere,
    StreamPartitions, Subscription,
};

use crate::errors::{Refusal, group_refusal, membership_refusal};
use crate::groups::GroupsService;
use crate::groups::held::{Held, by_stream};
use crate::groups::joining::{self, Joining};
use crate::groups::line::{End, Line, Said};
use crate::groups::positions::{self, with_positions};
use crate::server::Peer;

/// How often a member is heard of in a session, at least.
const QUESTIONS_PER_SESSION: u32 = 3;

/// A member and its call.
pub(crate) struct Membership {
    line: Line,
    requests: Streaming<JoinRequest>,
    progress: watch::Receiver<Progress>,
    group: GroupId,
    member: MemberId,
    instance: Option<InstanceId>,
    client: Client,
    epoch: i32,
    held: Held,
    /// How often the group is asked if nothing happens.
    tick: Duration,
    /// A question is open.
    is_asked: bool,
}

impl Membership {
    /// Begins a call; what the member is told comes from what this returns.
    pub(crate) fn begin(
        service: &GroupsService,
        requests: Streaming<JoinRequest>,
        peer: Option<Peer>,
    ) -> Said {
        let (line, said, last) = Line::begin(service);
        let service = service.clone();
        // Ends with the call, as everything that it waits for does: see `Line::cut`.
        tokio::spawn(async move {
            if let Err(refusal) = serve(&service, line, requests, peer).await {
                service.join.errors.add(1);
                last.say(refusal);
            }
        });
        said
    }

    /// Speaks for the member until the call ends.
    async fn live(&mut self) -> End {
        let mut ticks_at = self.next_tick();
        loop {
            let broker = Arc::clone(&self.line.broker);
            let mut tick = Alarm::for_client(broker.clock());
            let mut silence = Alarm::for_client(broker.clock());
            let silent_at = self.line.silent_at();
            let ended = tokio::select! {
                // In this order: a member that talks without end is not to keep the group, or the
                // server, from being heard; and what it has said before is no silence.
                biased;
                end = self.line.cut() => Err(end),
                changed = self.progress.changed() => self.follow(changed.is_ok()).await,
                () = tick.at(ticks_at) => {
                    ticks_at = self.next_tick();
                    self.look().await
                }
                message = self.requests.message() => match message {
                    Ok(Some(JoinRequest { message })) => self.hear(message).await,
                    Ok(None) => Err(End::Gone),
                    Err(status) => Err(End::of(&status)),
                },
                () = silence.at(silent_at) => Err(End::Silent),
            };
            if let Err(end) = ended {
                return end;
            }
        }
    }

    fn next_tick(&self) -> Moment {
        self.line.broker.clock().moment().plus(self.tick)
    }

    /// Takes a message of the member.
    async fn hear(&mut self, message: Option<Says>) -> Result<(), End> {
        self.line.heard_at = self.line.broker.clock().moment();
        self.is_asked = false;
        match message {
            Some(Says::StillHere(_)) => Ok(()),
            Some(Says::Released(released)) => match self.held.release(&released.partitions) {
                true => self.beat(None).await,
                false => Ok(()),
            },
            Some(Says::Acknowledge(said)) => self.acknowledge(said.positions).await,
            Some(Says::Subscribe(subscription)) => {
                joining::check_subscription(&subscription).map_err(End::Wrong)?;
                self.beat(Some(subscription)).await
            }
            Some(Says::Leave(_)) => Err(End::Left),
            Some(Says::Begin(_)) => {
                Err(End::Wrong(Refusal::invalid("the membership has begun already")))
            }
            None => Err(End::Wrong(Refusal::invalid("the message says nothing"))),
        }
    }

    /// The group has moved, or has gone.
    async fn follow(&mut self, is_there: bool) -> Result<(), End> {
        self.beat(None).await?;
        if !is_there {
            // It was made anew meanwhile, with this member in it.
            self.progress = progress(&self.line.broker, &self.group).await.map_err(End::Over)?;
        }
        Ok(())
    }

    /// Asks the group, and the member if it has said nothing.
    async fn look(&mut self) -> Result<(), End> {
        let silence = self.line.broker.clock().moment().since(self.line.heard_at);
        if !self.is_asked && silence >= self.tick {
            self.is_asked = true;
            self.line.tell(Tells::StillThere(StillThere {})).await?;
        }
        self.beat(None).await
    }

    async fn beat(&mut self, subscription: Option<Subscription>) -> Result<(), End> {
        let subscribed = subscription.map(joining::subscribed);
        let (topics, regex) = subscribed.unzip();
        let beat = Beat {
            member: self.member.clone(),
            epoch: self.epoch,
            instance: self.instance.clone(),
            rack: None,
            rebalance_timeout: None,
            topics,
            regex,
            assignor: None,
            owned: Some(self.held.owned()),
            client: self.client.clone(),
        };
        let heartbeat = ConsumerHeartbeat::Stay(Box::new(beat));
        let groups = self.line.broker.groups();
        match groups.consumer_heartbeat(&self.group, heartbeat).await {
            Ok(standing) => self.take(standing).await,
            Err(refused) => Err(end_of(&refused)),
        }
    }

    /// Tells the member where it stands, if that is new.
    async fn take(&mut self, standing: Standing) -> Result<(), End> {
        let has_moved = standing.epoch != self.epoch;
        self.epoch = standing.epoch;
        let broker = Arc::clone(&self.line.broker);
        if let Some(interval) = standing.heartbeat_interval {
            let at_most = self.line.session / QUESTIONS_PER_SESSION;
            self.tick = interval.min(at_most);
        }
        let Some(assignment) = standing.assignment else {
            return match has_moved {
                true => self.assign(Vec::new(), Vec::new()).await,
                false => Ok(()),
            };
        };
        let name_of = |id| broker.stream_by_id(id).map(|stream| stream.name.clone());
        let moved = self.held.move_to(&assignment, name_of);
        let added = with_positions(&broker, &self.group, &moved.added).await;
        let added = added.map_err(|error| End::Wrong(group_refusal(error)))?;
        let revoked = moved.revoked.iter().map(|(stream, index)| (stream.as_str(), *index));
        self.assign(added, by_stream(revoked)).await
    }

    async fn assign(
        &mut self,
        added: Vec<AssignedPartition>,
        revoked: Vec<StreamPartitions>,
    ) -> Result<(), End> {
        let member_id = self.member.as_str().to_owned();
        let assignment = Assignment { member_id, epoch: self.epoch, added, revoked };
        self.line.tell(Tells::Assignment(assignment)).await
    }

    /// Keeps positions of partitions that the member owns.
    async fn acknowledge(&mut self, said: Vec<NewPosition>) -> Result<(), End> {
        positions::check_count(said.len()).map_err(End::Wrong)?;
        let broker = Arc::clone(&self.line.broker);
        let parsed: Vec<_> = said.into_iter().map(|one| self.owned_position(one)).collect();
        let claim = Claim {
            member: Some(self.member.clone()),
            instance: self.instance.clone(),
            generation: Some(self.epoch),
        };
        let results = positions::commit(&broker, &self.group, claim, parsed).await;
        let results = results.map_err(|error| match error {
            GroupError::TooLarge => End::Wrong(group_refusal(error)),
            error => end_of(&HeartbeatRefused::Group(error)),
        })?;
        self.line.tell(Tells::Acknowledged(AcknowledgeResponse { results })).await
    }

    fn owned_position(&self, said: NewPosition) -> Result<OffsetToCommit, Refusal> {
        let NewPosition { stream, partition, next_offset, metadata } = said;
        let not_assigned =
            || Refusal::new(Reason::NotAssigned, "the member does not have the partition");
        let id = self.held.find(&stream, partition).ok_or_else(not_assigned)?;
        let gone = || Refusal::unknown_stream(&stream);
        Ok(OffsetToCommit {
            stream: self.line.broker.stream_by_id(id.stream).ok_or_else(gone)?,
            partition: id.index,
            offset: positions::offset(next_offset)?,
            leader_epoch: None,
            metadata: Arc::from(metadata),
            expires_at: None,
        })
    }
}

/// One call from its first message to its end; the refusal that it ends with, if any.
async fn serve(
    service: &GroupsService,
    mut line: Line,
    mut requests: Streaming<JoinRequest>,
    peer: Option<Peer>,
) -> Result<(), Refusal> {
    let mut silence = Alarm::for_client(service.broker.clock());
    let silent_at = line.silent_at();
    let first = tokio::select! {
        message = requests.message() => message.map_err(|status| End::of(&status)),
        end = line.cut() => return end.told(),
        () = silence.at(silent_at) => return End::Silent.told(),
    };
    drop(silence);
    let first = match first {
        Ok(Some(first)) => first,
        Ok(None) => return Ok(()),
        Err(end) => return end.told(),
    };
    let Some(Says::Begin(begin)) = first.message else {
        return Err(Refusal::invalid("the first message begins the membership"));
    };
    let joining = joining::parse(&service.broker, begin, peer)?;
    line.heard_at = service.broker.clock().moment();
    line.session = joining.session;
    let (group, member) = (joining.group.clone(), joining.beat.member.clone());
    line.place = Some(service.places.take(group, member).await);
    let (mut membership, standing) = enter(line, requests, joining).await?;
    let end = match membership.take(standing).await {
        Ok(()) => membership.live().await,
        Err(end) => end,
    };
    membership.leave(&end).await;
    end.told()
}

/// Makes the member one.
async fn enter(
    line: Line,
    requests: Streaming<JoinRequest>,
    joining: Joining,
) -> Result<(Membership, Standing), Refusal> {
    let Joining { group, beat, is_back, .. } = joining;
    let (member, instance) = (beat.member.clone(), beat.instance.clone());
    let client = beat.client.clone();
    let groups = line.broker.groups();
    if is_back && instance.is_some() {
        // A static member that comes back under its own id went without a word: for the group it
        // is there still, and nobody may take its place before it has gone.
        let (member, instance) = (member.clone(), instance.clone());
        let going = Going { member, instance, returns: Returns::Soon };
        // Refused if the group does not know it, which is what it would be.
        let _ = groups.consumer_heartbeat(&group, ConsumerHeartbeat::Leave(going)).await;
    }
    let joined = groups.consumer_heartbeat(&group, ConsumerHeartbeat::Stay(beat)).await;
    let standing = joined.map_err(|refused| membership_refusal(&refused))?;
    let mut progress = match progress(&line.broker, &group).await {
        Ok(progress) => progress,
        Err(refusal) => {
            leave(&line.broker, &group, Going { member, instance, returns: Returns::Soon }).await;
            return Err(refusal);
        }
    };
    // It may have moved since the answer was made.
    progress.mark_changed();
    let membership = Membership {
        line,
        requests,
        progress,
        group,
        member,
        instance,
        client,
        epoch: JOINING_EPOCH,
        held: Held::default(),
        tick: Duration::ZERO,
        is_asked: false,
    };
    Ok((membership, standing))
}

impl Membership {
    /// Gives up the member's place in the group, where the call's end asks for it.
    async fn leave(&self, end: &End) {
        let returns = match end {
            End::Left | End::Silent | End::Wrong(_) => Returns::Never,
            End::Gone if self.instance.is_some() => Returns::Soon,
            End::Gone => Returns::Never,
            End::Over(_) | End::TakenOver | End::Stopped => return,
        };
        let (member, instance) = (self.member.clone(), self.instance.clone());
        leave(&self.line.broker, &self.group, Going { member, instance, returns }).await;
    }
}

async fn leave(broker: &Broker, group: &GroupId, going: Going) {
    let member = going.member.clone();
    let heartbeat = ConsumerHeartbeat::Leave(going);
    if let Err(error) = broker.groups().consumer_heartbeat(group, heartbeat).await {
        let (group, member) = (group.as_str(), member.as_str());
        tracing::debug!(group, member, ?error, "a member could not leave its group");
    }
}

async fn progress(broker: &Broker, group: &GroupId) -> Result<watch::Receiver<Progress>, Refusal> {
    let progress = broker.groups().progress(group).await.map_err(group_refusal)?;
    progress.ok_or_else(|| group_refusal(GroupError::GroupNotFound))
}

/// What a refused heartbeat means for the call.
fn end_of(refused: &HeartbeatRefused) -> End {
    let refusal = membership_refusal(refused);
    match (refused, refusal.reason()) {
        (HeartbeatRefused::Group(GroupError::UnknownMember | GroupError::GroupNotFound), _) => {
            let why = "the group has no such member any more";
            End::Over(Refusal::new(Reason::Fenced, why))
        }
        (_, Reason::Fenced) => End::Over(refusal),
        (_, Reason::ShuttingDown) => End::Stopped,
        _ => End::Wrong(refusal),
    }
}
