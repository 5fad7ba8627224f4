//! Sign-ins as typed, at the embedded issuer, with and without a running service.

use std::sync::mpsc;

use super::*;
use crate::web::testing::{House, OLE, browse};

/// Takes what a person would read, and hands on the addresses in it.
struct Terminal {
    text: String,
    urls: mpsc::Sender<String>,
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let url = self
            .text
            .lines()
            .find_map(|line| line.trim().strip_prefix("http"));
        if let Some(url) = url {
            let _ = self.urls.send(format!("http{url}"));
        }
        Ok(())
    }
}

fn arguments(account: &str) -> SignInArguments {
    SignInArguments {
        address: account.to_owned(),
        device: false,
        paste: false,
        no_browser: true,
        json: false,
    }
}

/// Types the command, and does in the browser what it asks for. What came out, and what was printed.
async fn typed(
    mut counter: Counter,
    account: &str,
    consent: &'static str,
) -> (Result<String, CliError>, String) {
    let (urls, opened) = mpsc::channel();
    let browsing = tokio::task::spawn_blocking(move || opened.recv());
    let browsing = tokio::spawn(async move {
        if let Ok(Ok(url)) = browsing.await {
            browse(&format!("{url}&consent={consent}")).await;
        }
    });
    let mut terminal = Terminal {
        text: String::new(),
        urls,
    };
    let arguments = arguments(account);
    let outcome = signing_in(&mut counter, &arguments, Browser::None, &mut terminal).await;
    let Terminal { text, urls } = terminal;
    drop(urls);
    browsing.await.unwrap();
    counter.close().await;
    (outcome, text)
}

async fn own(house: &House) -> Counter {
    let store = Store::open(&house.config.store).await.unwrap();
    Counter::own(Tokens::new(store.clone()).unwrap(), store, &house.config)
}

#[tokio::test]
async fn without_a_service_the_command_is_its_own_desk() {
    let house = House::new(None).await;
    let (outcome, text) = typed(own(&house).await, OLE, "yes").await;
    assert_eq!(outcome.unwrap(), OLE);
    assert!(text.ends_with("ole@x.org is signed in.\n"), "{text}");
    // What the command stored is there for a service that starts later.
    let mut later = own(&house).await;
    let Reply::Grants(grants) = later.ask(Request::Grants).await.unwrap() else {
        panic!("no grants");
    };
    assert_eq!(grants[0].state, "active");
    assert_eq!(house.provider.issuer().token_requests(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn a_running_service_need_not_be_stopped() {
    let house = House::new(None).await;
    let status: Arc<crate::web::StatusSource> = Arc::new(|_| unreachable!("nobody asks"));
    let desk = Arc::clone(&house.desk);
    let folder = &house.config.state_dir;
    let socket = crate::web::ControlSocket::open(folder, desk, status).await;
    let _socket = socket.unwrap();
    let client = || async { Counter::Service(ControlClient::connect(folder).await.unwrap()) };
    let (outcome, text) = typed(client().await, OLE, "yes").await;
    assert_eq!(outcome.unwrap(), OLE);
    assert!(text.contains("Waiting."), "{text}");
    assert_eq!(house.state().await, "active");
    let account = OLE.to_owned();
    let reply = client().await.ask(Request::SignOut { account }).await;
    assert_eq!(done(reply.unwrap()).unwrap(), OLE);
    assert_eq!(house.state().await, "empty");
}

#[tokio::test]
async fn a_refusal_ends_with_the_reason_and_its_exit_code() {
    let house = House::new(None).await;
    let (outcome, text) = typed(own(&house).await, OLE, "no").await;
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    assert_eq!(error.exit(), Exit::NoPerm);
    assert!(!text.contains("is signed in"), "{text}");
    for (account, words) in [
        ("nobody@x.org", "no account"),
        ("anna@x.org", "does not use OAuth"),
    ] {
        let (outcome, _) = typed(own(&house).await, account, "yes").await;
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.exit(), Exit::NoInput);
    }
}
