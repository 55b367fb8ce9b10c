//! Finding out whether a registry takes a name and a password, before they are kept.

use super::agent::{Method, Request, RequestBody, Response};
use super::auth::{Authenticator, Identity};
use super::client::{Client, status_error};
use super::endpoint::Endpoint;
use super::{Credential, RegistryError};

impl Client {
    /// Shows credentials to a registry (`host[:port]`). One that wants none takes any.
    ///
    /// # Errors
    ///
    /// `Denied` if it does not take them; anything else if that cannot be found out.
    pub fn log_in(&self, registry: &str, credential: &Credential) -> Result<(), RegistryError> {
        self.retrying(|| {
            let insecure = self.options().registries.is_insecure(registry);
            let endpoint = self.endpoint(registry, insecure)?;
            let response = self.show(registry, credential, &endpoint)?;
            match response.status {
                200 => Ok(()),
                401 | 403 => Err(RegistryError::Denied {
                    repository: registry.to_owned(),
                    message: super::client::message(response),
                }),
                _ => Err(status_error(response)),
            }
        })
    }

    fn show(
        &self,
        registry: &str,
        credential: &Credential,
        endpoint: &Endpoint,
    ) -> Result<Response, RegistryError> {
        let send = |authorization: Option<&str>| {
            self.agent().send(Request {
                method: Method::GET,
                url: &format!("{}/v2/", endpoint.base),
                headers: &[],
                authorization,
                verification: endpoint.verification,
                body: RequestBody::Empty,
            })
        };
        let response = send(None)?;
        if response.status != 401 {
            return Ok(response);
        }
        // What other credentials have led to says nothing here.
        let authenticator = Authenticator::default();
        let identity = Identity {
            agent: self.agent(),
            registry,
            subject: registry,
            scope: "",
            credential: &|| Ok(Some(credential.clone())),
            verification: endpoint.verification,
        };
        match authenticator.answer(&identity, &response, None)? {
            Some(header) => Ok(send(Some(&header))?),
            None => Ok(response),
        }
    }
}
