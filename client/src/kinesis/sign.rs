//! AWS's Signature Version 4 of a request that is sent to `/` with a body: what AWS checks, weir
//! with `--kinesis-auth` checks, and local mocks only look for.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use weir_model::time::Timestamp;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "kinesis";

/// Who asks, as AWS's own tools are told.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) key_id: String,
    pub(crate) secret: String,
    /// Of credentials that pass.
    pub(crate) token: Option<String>,
    pub(crate) region: String,
}

/// A secret is not shown.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Credentials({} in {})", self.key_id, self.region)
    }
}

impl Credentials {
    /// Those of the variables that AWS's tools read; where there are none, those that a server on
    /// this machine takes.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Credentials {
        let said = |name: &str| variable(name).filter(|value| !value.is_empty());
        Credentials {
            key_id: said("AWS_ACCESS_KEY_ID").unwrap_or_else(|| "weir".to_owned()),
            secret: said("AWS_SECRET_ACCESS_KEY").unwrap_or_else(|| "weir".to_owned()),
            token: said("AWS_SESSION_TOKEN"),
            region: said("AWS_REGION")
                .or_else(|| said("AWS_DEFAULT_REGION"))
                .unwrap_or_else(|| "us-east-1".to_owned()),
        }
    }

    /// The `Authorization` header of a POST with these headers, which are all that is signed: their
    /// names in lower case, in their order.
    pub(super) fn authorization(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        date: &str,
    ) -> String {
        let day = date.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{}/{SERVICE}/aws4_request", self.region);
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut request = format!("POST\n{path}\n\n");
        for (name, value) in headers {
            request += &format!("{name}:{value}\n");
        }
        request += &format!("\n{names}\n{}", hex(&Sha256::digest(body)));
        let text = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let mut key = hmac(format!("AWS4{}", self.secret).as_bytes(), day.as_bytes());
        for part in [self.region.as_str(), SERVICE, "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        let signature = hex(&hmac(&key, text.as_bytes()));
        let key_id = &self.key_id;
        format!(
            "{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A date as signatures write it: `20260131T235959Z`.
pub(crate) fn basic_date(now: Timestamp) -> String {
    let seconds = now.as_seconds();
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date of the Gregorian calendar, with years that begin in March so that the leap day
    // is a year's last (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_767_225_599, "20251231T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(basic_date(Timestamp::from_millis(seconds * 1000)), date);
        }
    }

    #[test]
    fn credentials_are_those_of_awss_variables_or_a_local_servers() {
        let none = Credentials::of(|_| None);
        assert_eq!((none.key_id.as_str(), none.region.as_str()), ("weir", "us-east-1"));
        assert_eq!(none.token, None);
        let all = Credentials::of(|name| Some(name.to_lowercase()));
        assert_eq!((all.key_id.as_str(), all.region.as_str()), ("aws_access_key_id", "aws_region"));
        assert_eq!(all.token.as_deref(), Some("aws_session_token"));
        assert!(!format!("{all:?}").contains("secret"));
    }
}
