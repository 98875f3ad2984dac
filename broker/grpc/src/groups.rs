//! `weir.v1.Groups`: membership, and how far groups have read.
//!
//! ```text
//!   membership   one call of Join, which is a member while it is open
//!   line         what that call tells its member, and what cuts it
//!   joining      what that call begins with
//!   held         what that member has and what it is to give up
//!   places       which call is whose, when a member comes back before its last call has ended
//!   positions    keeps, shows, forgets and resets what groups have acknowledged
//!   describe     what there is, and how far it is behind
//! ```
//!
//! All of it asks the core's `GroupCoordinator`, as the Kafka dialect does: a member of this API is
//! a member of the consumer protocol (KIP-848) whose heartbeats the broker makes itself.

mod describe;
mod held;
mod joining;
mod line;
mod membership;
mod places;
mod positions;

use std::sync::Arc;

use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use weir_core::broker::Broker;
use weir_core::group::identity::GroupId;
use weir_core::metrics::{Dialect, RequestMetrics};
use weir_proto::v1::groups_server::Groups;
use weir_proto::v1::{
    AcknowledgeRequest, AcknowledgeResponse, DeleteGroupRequest, DeleteGroupResponse,
    DeletePositionsRequest, DeletePositionsResponse, DescribeGroupRequest, DescribeGroupResponse,
    GetPositionsRequest, GetPositionsResponse, JoinRequest, ListGroupsRequest, ListGroupsResponse,
    ResetPositionsRequest, ResetPositionsResponse,
};

use crate::errors::{Refusal, group_refusal};
use crate::groups::line::Said;
use crate::groups::membership::Membership;
use crate::groups::places::Places;
use crate::server::Peer;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct GroupsService {
    broker: Arc<Broker>,
    /// Turns true when the server stops: memberships end then.
    stopped: watch::Receiver<bool>,
    places: Arc<Places>,
    join: Arc<RequestMetrics>,
    acknowledge: Arc<RequestMetrics>,
}

impl GroupsService {
    pub(crate) fn new(broker: Arc<Broker>, stopped: watch::Receiver<bool>) -> GroupsService {
        let join = broker.metrics().request(Dialect::Grpc, "Join");
        let acknowledge = broker.metrics().request(Dialect::Grpc, "Acknowledge");
        GroupsService { broker, stopped, places: Arc::default(), join, acknowledge }
    }
}

#[tonic::async_trait]
impl Groups for GroupsService {
    type JoinStream = Said;

    async fn join(
        &self,
        request: Request<Streaming<JoinRequest>>,
    ) -> Result<Response<Said>, Status> {
        self.join.requests.add(1);
        let peer = request.extensions().get::<Peer>().copied();
        let said = Membership::begin(self, request.into_inner(), peer);
        Ok(Response::new(said))
    }

    async fn acknowledge(
        &self,
        request: Request<AcknowledgeRequest>,
    ) -> Result<Response<AcknowledgeResponse>, Status> {
        self.acknowledge.requests.add(1);
        let answer = positions::acknowledge(&self.broker, request.into_inner()).await;
        let is_kept = |answer: &AcknowledgeResponse| {
            answer.results.iter().all(|result| result.error.is_none())
        };
        if !answer.as_ref().is_ok_and(is_kept) {
            self.acknowledge.errors.add(1);
        }
        Ok(Response::new(answer?))
    }

    async fn get_positions(
        &self,
        request: Request<GetPositionsRequest>,
    ) -> Result<Response<GetPositionsResponse>, Status> {
        Ok(Response::new(positions::get(&self.broker, &request.into_inner()).await?))
    }

    async fn list_groups(
        &self,
        request: Request<ListGroupsRequest>,
    ) -> Result<Response<ListGroupsResponse>, Status> {
        Ok(Response::new(describe::list(&self.broker, &request.into_inner()).await?))
    }

    async fn describe_group(
        &self,
        request: Request<DescribeGroupRequest>,
    ) -> Result<Response<DescribeGroupResponse>, Status> {
        let group = group_id(&request.into_inner().group)?;
        Ok(Response::new(describe::describe(&self.broker, &group).await?))
    }

    async fn delete_group(
        &self,
        request: Request<DeleteGroupRequest>,
    ) -> Result<Response<DeleteGroupResponse>, Status> {
        let group = group_id(&request.into_inner().group)?;
        let deleted = self.broker.groups().delete(&[group]).await.map_err(group_refusal)?;
        let deleted = deleted.into_iter().next().expect("a result for each group");
        deleted.map_err(group_refusal)?;
        Ok(Response::new(DeleteGroupResponse {}))
    }

    async fn delete_positions(
        &self,
        request: Request<DeletePositionsRequest>,
    ) -> Result<Response<DeletePositionsResponse>, Status> {
        Ok(Response::new(positions::delete(&self.broker, &request.into_inner()).await?))
    }

    async fn reset_positions(
        &self,
        request: Request<ResetPositionsRequest>,
    ) -> Result<Response<ResetPositionsResponse>, Status> {
        Ok(Response::new(positions::reset(&self.broker, &request.into_inner()).await?))
    }
}

/// The group that a request names.
fn group_id(text: &str) -> Result<GroupId, Refusal> {
    let group = GroupId::new(text).ok().filter(|group| !group.is_empty());
    group.ok_or_else(|| Refusal::invalid("a group's name has 1 to 1024 bytes"))
}
