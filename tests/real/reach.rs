//! Who gets in, and by which way: behind HAProxy, at Unix sockets, at sockets that systemd opened, by user.

use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::Wire;
use crate::client::imap::Imap;
use crate::fixture::{Account, Mailbox, Proxy, free, ready, servers};

const MESSAGE: &str = "Subject: reached\r\n\r\nby this way\r\n";

/// A mailbox with one message, behind a proxy with further listeners.
struct Scene {
    proxy: Proxy,
    user: String,
    folder: TempDir,
}

impl Scene {
    /// `listeners` is given a folder that everyone may enter.
    fn new(listeners: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("chmod");
        let mailbox = Mailbox::new(servers());
        mailbox.seed("", [MESSAGE.as_bytes()]);
        let account = Account::implicit(&mailbox.user, servers());
        let proxy = Proxy::start_with(&listeners(folder.path()), &[account]);
        Self {
            proxy,
            user: mailbox.user,
            folder,
        }
    }

    /// curl as `uid`, which fetches the message from `url`.
    fn curl(&self, uid: u32, url: &str, arguments: &[&str]) -> Output {
        let uid = uid.to_string();
        let login = format!("{}:{}", self.user, self.proxy.password(&self.user));
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &uid, "--clear-groups", "curl", "-sS", "-m", "60"])
            .args(["-u", &login])
            .args(arguments)
            .arg(format!("{url}/INBOX;MAILINDEX=1"))
            .current_dir("/");
        command.output().expect("setpriv and curl")
    }

    fn fetches(&self, uid: u32, url: &str, arguments: &[&str]) {
        let output = self.curl(uid, url, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{url} {arguments:?}: {said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), MESSAGE);
    }

    fn is_refused(&self, uid: u32, url: &str, arguments: &[&str], cause: &str) {
        let output = self.curl(uid, url, arguments);
        assert!(!output.status.success() && output.stdout.is_empty());
        self.logs(&[cause]);
    }

    /// Waits for a line of the log with all of `words`: what ends a session is logged when the client is gone already.
    fn logs(&self, words: &[&str]) {
        let found = || {
            let log = self.proxy.log();
            log.lines()
                .any(|line| words.iter().all(|word| line.contains(word)))
        };
        assert!(until(found), "no line with {words:?}");
    }
}

fn until(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    true
}

/// A program that runs beside the proxy; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// HAProxy in front of `servers`, a port for each, with the option that sends this version of the header.
fn haproxy(folder: &Path, servers: &[(SocketAddr, &str)]) -> (Running, Vec<SocketAddr>) {
    let ports: Vec<SocketAddr> = free::<4>()[..servers.len()].to_vec();
    let mut text = "defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 60s\n    timeout server 60s\n"
        .to_owned();
    for (index, (port, (server, option))) in ports.iter().zip(servers).enumerate() {
        text.push_str(&format!(
            "listen l{index}\n    bind {port}\n    server s {server} {option}\n"
        ));
    }
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text).expect("write");
    let child = Command::new("haproxy")
        .arg("-db")
        .arg("-f")
        .arg(file)
        .spawn();
    let mut running = Running(child.expect("haproxy"));
    for port in &ports {
        let alive = || running.0.try_wait().expect("wait").is_none();
        assert!(ready(*port, alive), "haproxy does not listen on {port}");
    }
    (running, ports)
}

#[test]
fn behind_haproxy_the_client_is_who_it_connects_for() {
    let [plain, tls] = free();
    let scene = Scene::new(|_| {
        let balanced = "proxy_protocol = [\"127.0.0.1\"]\nnetworks = [\"127.0.0.5\"]\n";
        format!(
            "[[listener]]\nprotocol = \"imap\"\naddress = \"{plain}\"\n{balanced}\
             [[listener]]\nprotocol = \"imap\"\naddress = \"{tls}\"\ntls = \"implicit\"\n{balanced}"
        )
    });
    let first = (plain, "send-proxy");
    // It also looks whether we are well, and then speaks for itself (LOCAL).
    let second = (plain, "send-proxy-v2 check inter 500ms");
    let in_tls = (tls, "send-proxy-v2 proxy-v2-options unique-id,crc32c");
    let (_haproxy, ports) = haproxy(scene.folder.path(), &[first, second, in_tls]);
    for port in &ports[..2] {
        scene.fetches(0, &format!("imap://{port}"), &["--interface", "127.0.0.5"]);
    }
    let implicit = ["-k", "--interface", "127.0.0.5"];
    scene.fetches(0, &format!("imaps://{}", ports[2]), &implicit);
    assert!(until(|| {
        let log = scene.proxy.log();
        let ended = |line: &&str| line.contains("session ended") && line.contains("127.0.0.5:");
        log.lines().filter(ended).count() == 3
    }));
    let cause = "network not allowed";
    let other = ["--interface", "127.0.0.6"];
    scene.is_refused(0, &format!("imap://{}", ports[1]), &other, cause);
    scene.logs(&["127.0.0.6:", cause]);
    scene.logs(&["session ended", "127.0.0.1:"]);
    // `status` shows the client too.
    let client = client_from("127.0.0.5", ports[0]);
    assert!(until(|| {
        let status = scene.proxy.command(&["status"]).stdout;
        String::from_utf8_lossy(&status).contains(&client.local_addr().expect("bound").to_string())
    }));
}

fn client_from(ip: &str, to: SocketAddr) -> TcpStream {
    let ip: IpAddr = ip.parse().expect("an address");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.bind(&SocketAddr::new(ip, 0).into()).expect("bind");
    socket.connect(&to.into()).expect("connect");
    socket.into()
}

#[test]
fn nobody_else_speaks_for_others_and_a_balancer_has_to() {
    let [port] = free();
    let scene = Scene::new(|_| {
        format!(
            "[[listener]]\nprotocol = \"imap\"\naddress = \"{port}\"\nproxy_protocol = [\"127.0.0.1\"]\n"
        )
    });
    let mut stranger = client_from("127.0.0.9", port);
    let mut said = Vec::new();
    let _ = stranger.read_to_end(&mut said);
    assert!(said.is_empty());
    scene.logs(&["127.0.0.9:", "no load balancer of this listener"]);
    for (bytes, cause) in [
        ("A1 CAPABILITY\r\n", "no PROXY header"),
        (
            "PROXY TCP4 no addresses at all\r\n",
            "a broken PROXY header",
        ),
    ] {
        let mut balancer = Wire::connect(port);
        balancer.send(bytes.as_bytes());
        assert_eq!(balancer.rest(), b"");
        scene.logs(&["WARN", "127.0.0.1:", cause]);
    }
    // The header and the client's first commands in one segment; a balancer's look at us.
    for header in [
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711 143\r\n",
        "PROXY UNKNOWN\r\n",
    ] {
        let mut balancer = Wire::connect(port);
        balancer.send(format!("{header}A1 LOGOUT\r\n").as_bytes());
        let said = String::from_utf8(balancer.rest()).expect("UTF-8");
        assert!(said.contains("A1 OK"), "{said}");
    }
    scene.logs(&["192.0.2.7:4711", "session ended"]);
}

#[test]
fn a_unix_socket_is_open_to_whom_its_mode_and_users_allow() {
    let scene = Scene::new(|folder| {
        let at = |name: &str| {
            format!(
                "protocol = \"imap\"\naddress = \"unix:{}/{name}\"\n",
                folder.display()
            )
        };
        format!(
            "[[listener]]\n{}[[listener]]\n{}mode = \"0666\"\nallow_uids = [\"root\"]\n\
             [[listener]]\n{}mode = \"0666\"\nallow_uids = [{STRANGER}, 0]\ntls = \"starttls\"\n",
            at("own.sock"),
            at("root.sock"),
            at("both.sock"),
        )
    });
    let socket = |name: &str| scene.folder.path().join(name);
    let curl = |uid, name: &str| {
        let path = socket(name);
        let path = path.to_str().expect("UTF-8");
        scene.curl(uid, "imap://localhost", &["--unix-socket", path])
    };
    for (uid, name, allowed) in [
        (0, "own.sock", true),
        (STRANGER, "own.sock", false),
        (0, "root.sock", true),
        (STRANGER, "root.sock", false),
        (0, "both.sock", true),
        (STRANGER, "both.sock", true),
    ] {
        let output = curl(uid, name);
        assert_eq!(
            output.status.success(),
            allowed,
            "{uid} at {name}: {output:?}"
        );
        let expected = if allowed { MESSAGE } else { "" };
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
    scene.logs(&["user 65534 not allowed", "root.sock"]);
    scene.logs(&["session ended", "uid 65534"]);
    let mode = |name| {
        fs::metadata(socket(name))
            .expect("a socket")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!([mode("own.sock"), mode("root.sock")], [0o600, 0o666]);
    let status = String::from_utf8(scene.proxy.command(&["status"]).stdout).expect("UTF-8");
    let shown = format!("unix:{}", socket("own.sock").display());
    assert!(status.contains(&shown), "{status}");
    python_logs_in(&scene, &socket("own.sock"));
}

/// By imaplib, as a web mailer on the same machine would.
fn python_logs_in(scene: &Scene, path: &Path) {
    let script = "import imaplib, socket, sys\n\
        class Local(imaplib.IMAP4):\n    \
            def _create_socket(self, timeout):\n        \
                it = socket.socket(socket.AF_UNIX); it.connect(sys.argv[1]); return it\n\
        imap = Local(); imap.login(sys.argv[2], sys.argv[3]); print(imap.select()[1][0].decode()); imap.logout()\n";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(path)
        .args([&scene.user, scene.proxy.password(&scene.user)])
        .output()
        .expect("python3");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{output:?}");
}

#[test]
fn a_unix_socket_outlives_no_service_and_no_kill_stands_in_the_way() {
    let mut path = PathBuf::new();
    let mut scene = Scene::new(|folder| {
        path = folder.join("imap.sock");
        format!(
            "[[listener]]\nprotocol = \"imap\"\naddress = \"unix:{}\"\n",
            path.display()
        )
    });
    let unix = ["--unix-socket", path.to_str().expect("UTF-8")];
    scene.proxy.signal(Signal::KILL);
    scene.proxy.wait();
    assert!(path.exists(), "a killed service leaves its socket behind");
    let checked = scene.proxy.command(&["check"]);
    assert!(checked.status.success(), "{checked:?}");
    scene.proxy.start_again();
    scene.fetches(0, "imap://localhost", &unix);
    // One that lives is not taken over, nor is the file of a program that is no mail server.
    let second = scene.proxy.start_beside_with_its_sockets();
    let said = String::from_utf8_lossy(&second.stderr);
    let expected = format!("unix:{} is in use by another program", path.display());
    assert!(
        !second.status.success() && said.contains(&expected),
        "{said}"
    );
    scene.fetches(0, "imap://localhost", &unix);
    // Another mode counts from SIGHUP on.
    let config = fs::read_to_string(scene.proxy.config()).expect("configuration");
    let at = format!("address = \"unix:{}\"\n", path.display());
    let open = config.replace(&at, &format!("{at}mode = \"0666\"\n"));
    assert_ne!(config, open);
    fs::write(scene.proxy.config(), &open).expect("configuration");
    scene.proxy.signal(Signal::HUP);
    let mode = || fs::metadata(&path).expect("a socket").permissions().mode() & 0o777;
    assert!(until(|| mode() == 0o666), "{:o}", mode());
    scene.fetches(STRANGER, "imap://localhost", &unix);
    scene.proxy.signal(Signal::TERM);
    scene.proxy.wait();
    assert!(!path.exists());
}

#[test]
fn a_port_on_loopback_is_open_to_the_users_named() {
    let [four] = free();
    let scene = Scene::new(|_| {
        let port = four.port();
        format!("[[listener]]\nprotocol = \"imap\"\nport = {port}\nallow_uids = [0]\n")
    });
    for host in ["127.0.0.1", "[::1]"] {
        let url = format!("imap://{host}:{}", four.port());
        scene.fetches(0, &url, &[]);
        scene.is_refused(STRANGER, &url, &[], "user 65534 not allowed");
    }
}

#[test]
fn systemd_opens_the_sockets_and_a_reload_keeps_them() {
    let mut scene = Scene::new(|_| String::new());
    scene.proxy.signal(Signal::TERM);
    scene.proxy.wait();
    let config = scene.proxy.config();
    let own = fs::read_to_string(&config).expect("configuration");
    // The provider's password comes from a command, which tells what it was started with.
    let told = scene.folder.path().join("told");
    let (before, file) = own
        .split_once("password = { file = \"")
        .expect("a secret's file");
    let (file, behind) = file.split_once('"').expect("quoted");
    let told_to = told.display();
    let own = format!(
        "{before}password = {{ command = \"(env; ls -l /proc/$$/fd) > {told_to}; cat {file}\"{behind}"
    );
    let named =
        "\n[[listener]]\nprotocol = \"imap\"\naddress = \"systemd:mail\"\nallow_uids = [0]\n";
    fs::write(&config, format!("{own}{named}")).expect("configuration");

    let alone = scene.proxy.command(&["run"]);
    let said = String::from_utf8_lossy(&alone.stderr).into_owned();
    assert_eq!(alone.status.code(), Some(69), "{said}");
    let expected = "systemd handed over no socket called \"mail\", and no other: write FileDescriptorName=mail";
    assert!(said.contains(expected), "{said}");
    let checked = scene.proxy.command(&["check"]);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{checked:?}");
    assert!(said.contains("imap systemd:mail: opened by systemd, when it starts the service\n"));

    let [port] = free();
    let path = scene.folder.path().join("systemd.sock");
    let log = scene.folder.path().join("log");
    let service = activated(&config, port, &path, &log);
    let unix = ["--unix-socket", path.to_str().expect("UTF-8")];
    scene.fetches(0, &format!("imap://{port}"), &[]);
    scene.fetches(0, "imap://localhost", &unix);
    let logged =
        |text: &str| until(|| fs::read_to_string(&log).is_ok_and(|log| log.contains(text)));
    assert!(logged("uid 0"));
    let told = fs::read_to_string(told).expect("the command has run");
    assert!(
        told.contains("PATH=") && !told.contains("LISTEN_"),
        "{told}"
    );
    assert!(
        told.contains("/dev/null") && !told.contains("socket:"),
        "{told}"
    );
    let status = String::from_utf8(scene.proxy.command(&["status"]).stdout).expect("UTF-8");
    let shown = [port.to_string(), format!("unix:{}", path.display())];
    assert!(shown.iter().all(|place| status.contains(place)), "{status}");

    // Away, and back: systemd's sockets are not opened twice, so they have to be kept.
    let hangup = || {
        let pid = Pid::from_raw(service.0.id().cast_signed()).expect("a process id");
        kill_process(pid, Signal::HUP).expect("it runs");
    };
    let mut open = Imap::connect(port);
    fs::write(&config, &own).expect("configuration");
    hangup();
    let gone = || {
        let status = scene.proxy.command(&["status"]).stdout;
        !String::from_utf8_lossy(&status).contains("systemd.sock")
    };
    assert!(until(gone));
    fs::write(&config, format!("{own}{named}")).expect("configuration");
    hangup();
    assert!(until(|| !gone()));
    open.command("NOOP");
    scene.fetches(0, &format!("imap://{port}"), &[]);
    scene.fetches(0, "imap://localhost", &unix);
    drop(service);
    assert!(path.exists(), "what systemd made is systemd's");
}

/// The service, started by systemd's own hand with two sockets of one name.
fn activated(config: &Path, port: SocketAddr, path: &Path, log: &Path) -> Running {
    let log = File::create(log).expect("a file");
    let child = Command::new("systemd-socket-activate")
        .args(["--listen", &port.to_string(), "--listen"])
        .arg(path)
        .args(["--fdname", "mail:mail", env!("CARGO_BIN_EXE_mailsluice")])
        .arg("--config")
        .arg(config)
        .arg("run")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log)
        .spawn();
    let mut running = Running(child.expect("systemd-socket-activate"));
    let alive = || running.0.try_wait().expect("wait").is_none();
    assert!(
        ready(port, alive),
        "systemd-socket-activate does not listen"
    );
    running
}

/// `nobody`.
const STRANGER: u32 = 65534;
/// A loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
