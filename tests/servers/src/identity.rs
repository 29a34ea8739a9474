//! An identity provider: gives those who know a client's secret a token that brokers accept (OAuth 2.0's client
//! credentials, with JSON Web Tokens signed by ed25519).

use crate::http::{self, Answer, Request};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use std::time::{SystemTime, UNIX_EPOCH};

/// For whom the tokens are.
pub(crate) const AUDIENCE: &str = "fedstill";
/// How long one is good for.
const SECONDS: u64 = 600;

/// A provider on loopback, for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Where clients get tokens.
    pub(crate) endpoint: String,
    /// The key by which brokers check them, as a set of one JSON Web Key.
    pub(crate) keys: String,
}

impl Identity {
    /// Starts one that knows these clients with their secrets.
    pub(crate) fn start(clients: &'static [(&'static str, &'static str)]) -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
        let keys = format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"1","x":"{public}"}}]}}"#
        );
        let endpoint = http::serve(move |request| answer(request, clients, &key));
        Self {
            endpoint: endpoint + "/token",
            keys,
        }
    }
}

fn answer(request: &Request, clients: &[(&str, &str)], key: &SigningKey) -> Answer {
    let says = |(client, secret): &(&str, &str)| {
        let basic = BASE64_STANDARD.encode(format!("{client}:{secret}"));
        request.authorization.as_deref() == Some(&format!("Basic {basic}"))
    };
    let known = clients.iter().find(|client| says(client));
    let (status, body) = match known {
        Some((client, _)) => {
            let token = token(client, key);
            let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{SECONDS}}}"#);
            (200, body)
        }
        None => (401, r#"{"error":"invalid_client"}"#.to_owned()),
    };
    Answer {
        status,
        content_type: "application/json",
        body: body.into(),
    }
}

/// A token that says who its bearer is.
#[expect(
    clippy::disallowed_methods,
    reason = "brokers compare a token's times with the machine's own clock"
)]
fn token(client: &str, key: &SigningKey) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let until = now + SECONDS;
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let head = part(r#"{"alg":"EdDSA","kid":"1","typ":"JWT"}"#);
    let claims = part(&format!(
        r#"{{"sub":"{client}","aud":"{AUDIENCE}","iat":{now},"exp":{until}}}"#
    ));
    let signed = format!("{head}.{claims}");
    let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}
