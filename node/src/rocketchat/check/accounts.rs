//! Settings of a workspace under which people elsewhere can have no account, or none that can log in.
//!
//! What they do stands in Rocket.Chat's sources: `validateEmailDomain` and `saveNewUser` for the domains, the validation of logins for
//! addresses that nobody verified, the creation of accounts for those that somebody has to approve.

use serde_json::Value;

use super::{StepOutcome, Steps};
use crate::rocketchat::client::Client;
use crate::rocketchat::mapping::shadow::EMAIL_DOMAIN;

/// Where these settings are.
const REGISTRATION: &str = "Administration, Settings, Accounts, Registration";
/// What comes of it where no account can be made.
const ALIAS: &str = "until then what people elsewhere say comes from the service account, with their name as alias";

const ALLOWED: &str = "Accounts_AllowedDomainsList";
const BLOCKED: &str = "Accounts_BlockedDomainsList";
const DNS: &str = "Accounts_UseDNSDomainCheck";
const VERIFIED: &str = "Accounts_EmailVerification";
const APPROVED: &str = "Accounts_ManuallyApproveNewUsers";

/// Looks at the settings. Whether they may be read is a step of its own, so that nothing is said here where they may not.
pub(super) async fn of_accounts(steps: &mut Steps, client: &Client) {
    let mut amiss = false;
    for (setting, judge) in JUDGES {
        let Ok(value) = client.setting(setting).await else { continue };
        if let Some((outcome, message)) = judge(&value) {
            amiss = true;
            steps.add(format!("setting {setting}"), outcome, message);
        }
    }
    if !amiss {
        let message = "no setting is known that keeps people elsewhere from having accounts";
        steps.add("accounts", StepOutcome::Ok, message);
    }
}

/// What is wrong with the value of a setting.
type Judge = fn(&Value) -> Option<(StepOutcome, String)>;

const JUDGES: [(&str, Judge); 5] =
    [(ALLOWED, allowed), (BLOCKED, blocked), (DNS, dns), (VERIFIED, verified), (APPROVED, approved)];

fn names(list: &Value) -> Vec<String> {
    let text = list.as_str().unwrap_or_default();
    text.split(',').map(|domain| domain.trim().to_lowercase()).filter(|domain| !domain.is_empty()).collect()
}

fn allowed(value: &Value) -> Option<(StepOutcome, String)> {
    let listed = names(value);
    (!listed.is_empty() && !listed.iter().any(|domain| domain == EMAIL_DOMAIN)).then(|| {
        let message = format!(
            "accounts of people elsewhere have addresses of {EMAIL_DOMAIN}, which lead nowhere; add it to this list in \
             {REGISTRATION}; {ALIAS}"
        );
        (StepOutcome::Warning, message)
    })
}

fn blocked(value: &Value) -> Option<(StepOutcome, String)> {
    names(value).iter().any(|domain| domain == EMAIL_DOMAIN).then(|| {
        let message = format!(
            "accounts of people elsewhere have addresses of {EMAIL_DOMAIN}; take it out of this list in {REGISTRATION}; {ALIAS}"
        );
        (StepOutcome::Warning, message)
    })
}

fn dns(value: &Value) -> Option<(StepOutcome, String)> {
    (value == &Value::Bool(true)).then(|| {
        let message = format!(
            "accounts of people elsewhere have addresses of {EMAIL_DOMAIN}, which no name server knows; switch it off in \
             {REGISTRATION}; {ALIAS}"
        );
        (StepOutcome::Warning, message)
    })
}

fn verified(value: &Value) -> Option<(StepOutcome, String)> {
    (value == &Value::Bool(true)).then(|| {
        let message = format!(
            "accounts of people elsewhere have no mailbox, so that none of them could log in; switch it off in {REGISTRATION}"
        );
        (StepOutcome::Failed, message)
    })
}

fn approved(value: &Value) -> Option<(StepOutcome, String)> {
    (value == &Value::Bool(true)).then(|| {
        let message = format!(
            "what somebody elsewhere says waits until an administrator has approved their account in Administration, Users; \
             switch it off in {REGISTRATION} if that is not wanted"
        );
        (StepOutcome::Warning, message)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rocketmesh_standin::{Options, Standin, Wish};
    use serde_json::json;

    use super::super::check;
    use super::*;

    #[tokio::test]
    async fn each_setting_that_keeps_people_out_is_told_with_where_to_change_it() {
        let standin = Standin::start(Options::default()).await.unwrap();
        let account = standin.add_account("bridge", &["admin", "bot"]).unwrap();
        let client = Client::open(&standin.url()).unwrap();
        let set = |setting: &str, value: &Value| {
            standin.wish(Wish::Set { setting: setting.to_owned(), value: value.clone() }).unwrap();
        };
        let cases = [
            (ALLOWED, json!("example.org, example.com"), json!("example.org, Rocketmesh.invalid"), true),
            (BLOCKED, json!("rocketmesh.invalid"), json!("example.org"), true),
            (DNS, json!(true), json!(false), true),
            (VERIFIED, json!(true), json!(false), false),
            (APPROVED, json!(true), json!(false), true),
        ];
        for (setting, bad, good, passes) in cases {
            set(setting, &bad);
            let (report, _) = check(&client, &account.token, Some(&account.user_id)).await;
            let amiss: Vec<_> = report.steps.iter().filter(|step| step.outcome != StepOutcome::Ok).collect();
            let [step] = amiss.as_slice() else { panic!("{setting}: {amiss:?}") };
            assert_eq!(step.name, format!("setting {setting}"));
            assert!(step.message.contains(REGISTRATION), "{step:?}");
            assert_eq!(report.passed, passes, "{step:?}");
            set(setting, &good);
            let (report, _) = check(&client, &account.token, Some(&account.user_id)).await;
            assert!(report.steps.iter().all(|step| step.outcome == StepOutcome::Ok), "{setting}: {:?}", report.steps);
        }
    }
}
