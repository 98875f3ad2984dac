//! ConsumerGroupDescribe (key 69), versions 0 to 1: KIP-848 groups in full, with their members.
//!
//! - A group that is not there, or a classic one, is GROUP_ID_NOT_FOUND.
//! - A group that is named twice is answered once; more than 200,000 close the connection.
//! - The operations that the client may do, if it asks: all of them.
//! - Topics that are gone are left out of assignments.
//! - 1+: whether a member still speaks the classic protocol.
//!
//! Left out: nothing.

use weir_core::group::assignor::{Partitions, by_stream};
use weir_core::group::description::{Description, ModernDescription, ModernMember};
use weir_core::group::error::GroupError;
use weir_kafka_protocol::messages::consumer_group_describe::{
    Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup,
    Member, TopicPartitions,
};
use weir_kafka_protocol::{ErrorCode, Uuid};

use crate::answers::{check_asked, each_once};
use crate::client_text::ClientText;
use crate::close::CloseReason;
use crate::errors::group_code;
use crate::exchange::RequestContext;
use crate::group::{GROUP_OPERATIONS_ALL, OPERATIONS_NOT_ASKED, group_id, state_name};

pub(crate) const GAPS: &[&str] = &[];

/// The types of members, as Kafka numbers them.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

pub(crate) async fn handle(
    context: RequestContext,
    request: ConsumerGroupDescribeRequest,
) -> Result<ConsumerGroupDescribeResponse, CloseReason> {
    check_asked(request.group_ids.len())?;
    let asked = each_once(request.group_ids);
    let mut groups = Vec::with_capacity(asked.len());
    for group in asked {
        let mut described = describe(&context, &group).await;
        if request.include_authorized_operations && described.error_code == ErrorCode::NONE.0 {
            described.authorized_operations = GROUP_OPERATIONS_ALL;
        }
        groups.push(DescribedGroup { group_id: group, ..described });
    }
    Ok(ConsumerGroupDescribeResponse { throttle_time_ms: 0, groups })
}

async fn describe(context: &RequestContext, group: &str) -> DescribedGroup {
    let found = match group_id(group) {
        Ok(id) if id.is_empty() => Err(GroupError::InvalidGroupId),
        Ok(id) => context.broker().groups().describe(&id).await,
        // A name that no group can have is one that no group has.
        Err(_) => Err(GroupError::GroupNotFound),
    };
    let refused = |code, error_message| DescribedGroup {
        error_code: context.answer_code(code),
        error_message,
        authorized_operations: OPERATIONS_NOT_ASKED,
        ..DescribedGroup::default()
    };
    let shown = ClientText(group);
    match found {
        Ok(Description::Modern(modern)) => modern_group(context, modern),
        Ok(Description::Classic(_)) => refused(
            ErrorCode::GROUP_ID_NOT_FOUND,
            Some(format!("Group {shown} is not a consumer group.")),
        ),
        Err(GroupError::GroupNotFound) => {
            refused(ErrorCode::GROUP_ID_NOT_FOUND, Some(format!("Group {shown} not found.")))
        }
        Err(error) => refused(group_code(error), None),
    }
}

fn modern_group(context: &RequestContext, group: ModernDescription) -> DescribedGroup {
    DescribedGroup {
        error_code: ErrorCode::NONE.0,
        error_message: None,
        group_id: String::new(),
        group_state: state_name(group.state).to_owned(),
        group_epoch: group.epoch,
        assignment_epoch: group.target_epoch,
        assignor_name: group.assignor.name().to_owned(),
        members: group.members.into_iter().map(|one| member(context, one)).collect(),
        authorized_operations: OPERATIONS_NOT_ASKED,
    }
}

fn member(context: &RequestContext, member: ModernMember) -> Member {
    let metadata = member.metadata;
    Member {
        member_id: member.member.as_str().to_owned(),
        instance_id: metadata.instance.map(|instance| instance.as_str().to_owned()),
        rack_id: metadata.rack.map(|rack| rack.to_string()),
        member_epoch: member.epoch,
        client_id: metadata.client.id.to_string(),
        client_host: metadata.client.host.to_string(),
        subscribed_topic_names: metadata.topics.iter().map(|name| name.to_string()).collect(),
        // As in Kafka the empty text for none.
        subscribed_topic_regex: Some(
            metadata.regex.map(|regex| regex.to_string()).unwrap_or_default(),
        ),
        assignment: assignment(context, &member.assigned),
        target_assignment: assignment(context, &member.target),
        member_type: if member.is_classic { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
    }
}

fn assignment(context: &RequestContext, partitions: &Partitions) -> Assignment {
    let named = by_stream(partitions).into_iter().filter_map(|(stream, partitions)| {
        let topic_name = context.broker().stream_by_id(stream)?.name.as_str().to_owned();
        Some(TopicPartitions { topic_id: Uuid(stream.to_bytes()), topic_name, partitions })
    });
    Assignment { topic_partitions: named.collect() }
}
