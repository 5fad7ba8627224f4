//! `certs …`, and what `check` tells about certificates.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::home::{CONFIG, Home, STATE, installed};

/// One listener of each kind, on free ports.
const LISTENERS: &str = "
[certificates]
names = [\"mail.lan\"]

[[listener]]
protocol = \"imap\"
address = \"127.0.0.1:0\"
tls = \"implicit\"

[[listener]]
protocol = \"smtp\"
address = \"127.0.0.2:0\"
tls = \"starttls\"

[[listener]]
protocol = \"pop3\"
address = \"127.0.0.1:0\"
";

fn home() -> Home {
    let home = Home::new();
    home.write(CONFIG, LISTENERS);
    home
}

fn path(home: &Home, name: &str) -> String {
    home.path(name).display().to_string()
}

/// What another program says; it has to succeed.
#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{error}");
    text + &error
}

#[test]
fn what_is_there_is_shown_and_nothing_is_made_by_looking() {
    let home = home();
    let told = home.run(&["certs", "show"]).ok();
    assert!(told.starts_with("There is no CA yet."), "{told}");
    let line =
        "imap 127.0.0.1:0 (implicit): our own certificate, which is made when the service starts\n";
    assert!(told.contains(line), "{told}");
    assert!(!told.contains("pop3"), "it has no TLS: {told}");
    let checked = home.run(&["check"]).ok();
    assert!(checked.starts_with(line), "{checked}");
    let document = home.run(&["certs", "show", "--json"]).json();
    assert!(
        document["ca"].is_null() && document["certificate"].is_null(),
        "{document}"
    );
    assert!(!home.path(STATE).exists());
    let none = home.run(&["certs", "export", "--leaf"]).failed(66);
    assert!(none.contains("when the service starts"), "{none}");
}

#[test]
fn a_service_makes_both_and_they_are_told() {
    let home = home();
    let service = home.start();
    let document = home.run(&["certs", "show", "--json"]).json();
    let (ca, leaf) = (&document["ca"], &document["certificate"]);
    let names = [
        "localhost",
        "127.0.0.1",
        "::1",
        "mailsluice.localhost",
        "127.0.0.2",
        "mail.lan",
    ];
    assert_eq!(leaf["names"], serde_json::json!(names));
    assert_eq!(leaf["issuer"], ca["subject"]);
    assert_eq!(ca["file"], path(&home, &format!("{STATE}/certs/ca.pem")));
    let listeners = document["listeners"].as_array().expect("a list");
    let told: Vec<_> = listeners
        .iter()
        .map(|l| (l["protocol"].as_str(), l["tls"].as_str()))
        .collect();
    let expected = [
        (Some("imap"), Some("implicit")),
        (Some("smtp"), Some("starttls")),
    ];
    assert_eq!(told, expected);
    assert!(
        listeners
            .iter()
            .all(|l| l["certificate"]["sha256"] == leaf["sha256"])
    );
    let checked = home.run(&["check", "--json"]).json();
    assert_eq!(checked["certificates"], document["listeners"]);
    let told = home.run(&["certs", "show"]).ok();
    for text in [
        "CA: mailsluice local CA ",
        "\nCertificate: localhost\n  names       localhost, 127.0.0.1, ::1, ",
        "\nsmtp 127.0.0.2:0 (starttls): our own certificate for localhost, ",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    assert_eq!(home.mode(&format!("{STATE}/certs")), 0o700);
    for key in ["ca-with-key.pem", "server-with-key.pem"] {
        assert_eq!(home.mode(&format!("{STATE}/certs/{key}")), 0o600);
    }
    drop(service);
}

#[test]
fn the_ca_is_exported_in_every_format_and_its_key_in_none() {
    let home = home();
    let pem = home.run(&["certs", "export"]).ok();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"), "{pem}");
    assert!(!pem.contains("PRIVATE"), "{pem}");
    let again = home.run(&["certs", "export", "--ca", "--out", "ca.pem"]);
    assert!(
        again.stderr.starts_with("mailsluice local CA "),
        "{again:?}"
    );
    assert_eq!(home.read("ca.pem"), pem);
    home.run(&["certs", "export", "--format", "der", "--out", "ca.cer"])
        .ok();
    let stored = home.run(&["certs", "export", "--format", "p12", "--out", "ca.p12"]);
    assert!(
        stored.stderr.contains("Its password is changeit"),
        "{stored:?}"
    );
    let no_file = home.run(&["certs", "export", "--format", "p12"]).failed(64);
    assert!(no_file.contains("--out FILE"), "{no_file}");
    home.run(&["certs", "export", "--leaf", "--format", "p12", "--out", "x"])
        .failed(64);
    home.run(&["certs", "export", "--leaf", "--ca"]).failed(64);
    home.run(&["certs", "export", "--out", "no/such/folder"])
        .failed(73);

    let sha256 = home.run(&["certs", "show", "--json"]).json()["ca"]["sha256"].clone();
    let sha256 = sha256.as_str().expect("a fingerprint");
    if installed("openssl") {
        for (file, form) in [("ca.pem", "PEM"), ("ca.cer", "DER")] {
            let mut openssl = Command::new("openssl");
            openssl.args([
                "x509",
                "-noout",
                "-fingerprint",
                "-sha256",
                "-inform",
                form,
                "-in",
            ]);
            let told = said(openssl.arg(home.path(file)));
            assert!(told.contains(sha256), "{told}");
        }
        let mut openssl = Command::new("openssl");
        openssl.args([
            "pkcs12",
            "-nokeys",
            "-info",
            "-passin",
            "pass:changeit",
            "-in",
        ]);
        let told = said(openssl.arg(home.path("ca.p12")));
        assert!(
            told.contains("MAC: sha1, Iteration 2048") && told.contains(&pem),
            "{told}"
        );
    }
    if installed("keytool") {
        let list = |password: &str| {
            let mut keytool = Command::new("keytool");
            keytool.args([
                "-list",
                "-v",
                "-storetype",
                "PKCS12",
                "-storepass",
                password,
                "-keystore",
            ]);
            keytool.arg(home.path("ca.p12")).output().expect("it runs")
        };
        let told = list("changeit");
        let told = String::from_utf8_lossy(&told.stdout);
        assert!(
            told.contains("Entry type: trustedCertEntry") && told.contains(sha256),
            "{told}"
        );
        assert!(
            !list("changed").status.success(),
            "the checksum is looked at"
        );
    }
}

#[test]
fn a_new_ca_is_made_only_on_demand() {
    let home = home();
    let subject = || home.run(&["certs", "show", "--json"]).json()["ca"]["subject"].clone();
    home.run(&["certs", "export"]).ok();
    let first = subject();
    let told = home.run(&["certs", "new"]).failed(64);
    assert!(told.contains("nothing was done; say --yes"), "{told}");
    assert_eq!(subject(), first);
    let told = home.run(&["certs", "new", "--yes"]).ok();
    assert!(told.contains("mailsluice certs trust"), "{told}");
    assert_ne!(subject(), first);
    // Damaged, it is told by every command that needs it, and replaced by this one alone.
    let file = format!("{STATE}/certs/ca-with-key.pem");
    home.write(&file, "damaged");
    for command in [
        &["certs", "show"] as &[&str],
        &["certs", "export"],
        &["certs", "trust"],
    ] {
        let told = home.run(command).failed(78);
        assert!(told.contains("ca-with-key.pem does not hold"), "{told}");
    }
    assert_eq!(home.read(&file), "damaged");
    home.run(&["certs", "new", "--yes"]).ok();
    home.run(&["certs", "show"]).ok();
}

#[test]
fn own_files_that_nobody_would_take_are_told_by_check() {
    let home = Home::new();
    let write = |name: &str, until: i32| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(["mail.lan".to_owned()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let made = params.self_signed(&key).expect("a certificate");
        home.write(&format!("{name}.pem"), &made.pem());
        home.write(&format!("{name}.key"), &key.serialize_pem());
    };
    for (name, until) in [("good", 2099), ("other", 2099), ("old", 2001)] {
        write(name, until);
    }
    let listener = |certificate: &str, key: &str| {
        format!(
            "[[listener]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:0\"\ntls = \"implicit\"\n\
             certificate = \"~/{certificate}.pem\"\nkey = \"~/{key}.key\"\n"
        )
    };
    let pem = path(&home, "good.pem");
    home.write(CONFIG, &listener("good", "good"));
    let told = home.run(&["check"]).ok();
    let line = format!("imap 127.0.0.1:0 (implicit): {pem} for mail.lan, until 2099-01-01\n");
    assert!(told.starts_with(&line), "{told}");
    home.write(
        CONFIG,
        &(listener("good", "other") + &listener("old", "old")),
    );
    let told = home.run(&["check"]).failed(78);
    let other = format!("{} is not the key of {pem}", path(&home, "other.key"));
    let old = format!("{} has expired on 2001-01-01\n", path(&home, "old.pem"));
    assert!(told.contains(&other) && told.ends_with(&old), "{told}");
    let document = home.run(&["check", "--json"]);
    assert_eq!(document.code, 78);
    let error = document.json()["certificates"][0]["error"].clone();
    assert!(
        error
            .as_str()
            .is_some_and(|e| e.contains("is not the key of")),
        "{error}"
    );
    let told = home.run(&["run"]).failed(78);
    assert!(told.contains(&other), "{told}");
}

#[test]
fn trust_is_given_to_programs_and_taken_back() {
    let home = home();
    let only = ["certs", "trust", "--only", "programs"];
    let nowhere = home.run(&only).failed(69);
    assert!(
        nowhere.contains("certs/ca.pem to your programs by hand"),
        "{nowhere}"
    );
    if !installed("certutil") {
        return;
    }
    let folder = home.path(".thunderbird/abc.default");
    fs::create_dir_all(&folder).expect("a folder");
    let database = format!("sql:{}", folder.display());
    let certutil = |arguments: &[&str]| {
        let mut certutil = Command::new("certutil");
        certutil.args(["-d", &database]).args(arguments);
        certutil
    };
    said(&mut certutil(&["-N", "--empty-password"]));
    let asked = home.run(&only);
    assert!(
        asked
            .stdout
            .contains(&format!("certutil -d {database} -A -n ")),
        "{asked:?}"
    );
    asked.failed(64);
    assert!(
        !said(&mut certutil(&["-L"])).contains("mailsluice"),
        "nothing was done"
    );

    let yes = ["certs", "trust", "--only", "programs", "--yes"];
    // Twice, with another CA: the old one is forgotten.
    for _ in 0..2 {
        home.run(&["certs", "new", "--yes"]).ok();
        let told = home.run(&yes).ok();
        assert!(told.contains(": trusts the CA now\n"), "{told}");
        let listed = said(&mut certutil(&["-L"]));
        assert_eq!(listed.matches("mailsluice local CA").count(), 1, "{listed}");
    }
    // Its word is taken for our certificate: what NSS itself says about a TLS server.
    drop(home.start());
    home.run(&["certs", "export", "--leaf", "--out", "leaf.pem"])
        .ok();
    let leaf = path(&home, "leaf.pem");
    said(&mut certutil(&[
        "-A", "-n", "leaf", "-t", ",,", "-i", &leaf,
    ]));
    let valid = said(&mut certutil(&["-V", "-n", "leaf", "-u", "V", "-e"]));
    assert!(valid.contains("certificate is valid"), "{valid}");
    let remove = ["certs", "trust", "--only", "programs", "--yes", "--remove"];
    for _ in 0..2 {
        let told = home.run(&remove).ok();
        assert!(told.contains(": does not trust the CA\n"), "{told}");
    }
    assert!(!said(&mut certutil(&["-L"])).contains("mailsluice"));
    let invalid = certutil(&["-V", "-n", "leaf", "-u", "V", "-e"])
        .output()
        .expect("it runs");
    assert!(!invalid.status.success());
}

#[test]
fn certificates_are_looked_at_again_by_a_reload() {
    let home = home();
    let service = home.start();
    let names =
        || home.run(&["certs", "show", "--json"]).json()["certificate"]["names"].to_string();
    assert!(!names().contains("nas.lan"));
    home.write(CONFIG, &LISTENERS.replace("mail.lan", "nas.lan"));
    service.signal(Signal::HUP);
    service.wait_for("another certificate is presented from now on");
    service.wait_for("configuration read again");
    assert!(names().contains("nas.lan"));
    // Outside of what the CA may vouch for: told, and nothing is lost.
    home.write(CONFIG, &LISTENERS.replace("mail.lan", "mail.firma.example"));
    service.signal(Signal::HUP);
    let line = service.wait_for("look after this certificate");
    assert!(line.contains("mailsluice certs new"), "{line}");
    service.wait_for("configuration read again");
    assert!(!names().contains("firma"));
    home.run(&["certs", "new", "--yes"]).ok();
    service.signal(Signal::HUP);
    service.wait_for("another certificate is presented from now on");
    assert!(names().contains("mail.firma.example"));
}

/// Whoever is killed, wherever that is: the others agree on one CA, and it is whole.
#[test]
fn processes_at_once_agree_on_one_ca_though_some_are_killed() {
    let home = home();
    let started: Vec<_> = (0..12)
        .map(|_| {
            home.command(&["certs", "export"])
                .spawn()
                .expect("it starts")
        })
        .collect();
    let mut printed = Vec::new();
    for (index, mut process) in started.into_iter().enumerate() {
        if index % 2 == 0 {
            process.kill().expect("it can be killed");
        }
        let output = process.wait_with_output().expect("it ends");
        if output.status.success() {
            printed.push(String::from_utf8(output.stdout).expect("UTF-8"));
        } else {
            assert_eq!(index % 2, 0, "it was not killed: {:?}", output.stderr);
        }
    }
    assert!(printed.len() >= 6, "{}", printed.len());
    let ca = home.read(&format!("{STATE}/certs/ca.pem"));
    assert!(printed.iter().all(|pem| *pem == ca), "{printed:#?}");
    assert_eq!(home.run(&["certs", "export"]).ok(), ca);
    drop(home.start());
}
