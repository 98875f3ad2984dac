//! DescribeUserScramCredentials (key 50), version 0: which users have SCRAM credentials.
//!
//! - None has any, since there is no authentication: a list of all is empty, and a user that is
//!   asked for is RESOURCE_NOT_FOUND, one that is asked for twice DUPLICATE_RESOURCE.
//! - Kafka's tool for the settings of users asks this beside their quotas.
//!
//! Left out: credentials.

use std::collections::BTreeMap;

use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
};

use crate::client_text::ClientText;
use crate::close::CloseReason;
use crate::exchange::RequestContext;

pub(crate) const GAPS: &[&str] = &["no user has credentials"];

pub(crate) async fn handle(
    context: RequestContext,
    request: DescribeUserScramCredentialsRequest,
) -> Result<DescribeUserScramCredentialsResponse, CloseReason> {
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for user in request.users.unwrap_or_default() {
        *asked.entry(user.name).or_default() += 1;
    }
    let result = |(user, times): (String, usize)| {
        let shown = ClientText(&user);
        let (code, message) = if times == 1 {
            let text = "Attempt to describe a user credential that does not exist";
            (ErrorCode::RESOURCE_NOT_FOUND, format!("{text}: {shown}"))
        } else {
            let text = "Cannot describe SCRAM credentials for the same user twice in a single \
                        request";
            (ErrorCode::DUPLICATE_RESOURCE, format!("{text}: {shown}"))
        };
        DescribeUserScramCredentialsResult {
            error_code: context.answer_code(code),
            error_message: Some(message),
            user,
            credential_infos: Vec::new(),
        }
    };
    let results = asked.into_iter().map(result).collect();
    Ok(DescribeUserScramCredentialsResponse { results, ..Default::default() })
}
