//! ListPartitionReassignments (key 46), version 0: none are ever under way.

use weir_kafka_protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use crate::close::CloseReason;
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] = &[];

pub(crate) async fn handle(
    _context: RequestContext,
    _request: ListPartitionReassignmentsRequest,
) -> Result<ListPartitionReassignmentsResponse, CloseReason> {
    Ok(ListPartitionReassignmentsResponse::default())
}
