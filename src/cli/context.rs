//! What every command needs: the global flags, the configuration they lead to, and where to print.

use std::io::{self, StdoutLock};

use super::args::Global;
use super::error::CliError;
use crate::causes::with_causes;
use crate::config::runtime::Config;
use crate::config::{Flag, LoadRequest, Loaded, load, state_dir};
use crate::net::NetError;
use crate::relay::ServiceError;
use crate::store::Store;
use crate::web::{ControlClient, ControlError, Status, socket_path};

/// The global flags, understood. No `Debug`: the environment is in it.
pub(crate) struct Context {
    request: LoadRequest,
}

impl Context {
    pub(crate) fn new(global: Global) -> Result<Self, CliError> {
        let flags = global
            .set
            .iter()
            .map(|text| flag(text))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            request: LoadRequest::from_process(global.config, flags),
        })
    }

    /// What leads to the configuration.
    pub(crate) fn request(&self) -> &LoadRequest {
        &self.request
    }

    /// The configuration, for commands that look at it or change it.
    pub(crate) fn load(&self) -> Result<Loaded, CliError> {
        Ok(load(&self.request)?)
    }

    /// The configuration as the service needs it: its secrets must be at hand.
    pub(crate) fn load_for_service(&self) -> Result<Loaded, CliError> {
        let request = LoadRequest {
            for_service: true,
            ..self.request.clone()
        };
        Ok(load(&request)?)
    }

    /// The configuration for a start of the service: its ports must be free too.
    pub(crate) fn load_for_start(&self) -> Result<Loaded, CliError> {
        let request = LoadRequest {
            for_service: true,
            port_probe: Some(crate::net::probe),
            ..self.request.clone()
        };
        Ok(load(&request)?)
    }

    /// What the service with the same state folder says of itself. What is wrong with the rest of the configuration does
    /// not matter.
    pub(crate) fn status(&self) -> Result<Status, CliError> {
        let state_dir = state_dir(&self.request);
        super::block_on(async {
            let mut service = ControlClient::connect(&state_dir).await?;
            Ok(service.status().await?)
        })?
    }

    /// The same, where it is no failure that none runs.
    pub(crate) fn running(&self) -> Result<Option<Status>, CliError> {
        match self.status() {
            Ok(status) => Ok(Some(status)),
            Err(CliError::Control(ControlError::NotRunning { .. } | ControlError::Io { .. })) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Fails if a service with the same state folder answers.
    pub(crate) fn refuse_second(&self) -> Result<(), CliError> {
        if self.running()?.is_none() {
            return Ok(());
        }
        let path = socket_path(&state_dir(&self.request));
        Err(ControlError::Running { path }.into())
    }

    /// The store the configuration names.
    pub(crate) async fn store(&self, config: &Config) -> Result<Store, CliError> {
        Ok(Store::open(&config.store).await?)
    }

    /// Where results are printed.
    pub(crate) fn out(&self) -> StdoutLock<'static> {
        io::stdout().lock()
    }
}

/// Listeners that cannot be opened, as problems of the configuration where they are.
pub(crate) fn ports(loaded: &Loaded, errors: &[ServiceError]) -> CliError {
    let lines = errors.iter().map(|error| {
        let kind = error.source.io_kind();
        let problem = kind.and_then(|kind| loaded.cannot_listen(&error.listener, kind));
        problem.map_or_else(|| with_causes(error), |p| p.to_string())
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    if errors
        .iter()
        .all(|error| matches!(error.source, NetError::Certificate(_)))
    {
        return CliError::Certificates { lines };
    }
    CliError::Ports {
        lines,
        denied: errors
            .iter()
            .any(|error| error.source.io_kind() == Some(io::ErrorKind::PermissionDenied)),
    }
}

/// `KEY=VALUE`
fn flag(text: &str) -> Result<Flag, CliError> {
    let (key, value) = text.split_once('=').ok_or_else(|| CliError::Set {
        text: text.split(' ').next().unwrap_or_default().to_owned(),
    })?;
    Ok(Flag {
        name: format!("--set {key}"),
        key: key.to_owned(),
        value: value.to_owned(),
    })
}
