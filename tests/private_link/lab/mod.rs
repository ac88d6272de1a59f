//! A hub-spoke network on one machine, with the real gateway inside.
//!
//! ```text
//!  desk                premises                       hub                             spoke
//!  192.168.8.10 ───── 192.168.8.1  ══ TUN line ══  10.10.0.4 resolver ───────── 10.20.1.5 private endpoint
//!  a caller           the gateway                  10.10.0.5 a second one       10.20.1.6 another resource
//!                     192.168.0.53 corporate DNS   168.63.129.16 Azure's DNS
//!                          │                            │
//!                          └─ breakout ─── internet ────┘
//!                                          203.0.113.10 public front of the same name
//!                                          203.0.113.53 public DNS      203.0.113.66 somebody else
//! ```
//!
//! Each box is a network namespace. Names are served by BIND 9, TLS is real, and what passed is known from captures.

pub(crate) mod capture;
pub(crate) mod certificates;
pub(crate) mod front;
pub(crate) mod gateway;
pub(crate) mod link;
pub(crate) mod named;
pub(crate) mod packet;
pub(crate) mod space;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use self::capture::Capture;
use self::certificates::Authority;
use self::front::{Front, Greeting, Manner, REFUSAL};
use self::gateway::{Answer, Call, Gateway};
use self::link::{Condition, DEVICE, Link};
use self::named::{Named, Views};
pub(crate) use self::space::Space;

/// The resource that the lab is about.
pub(crate) const HOST: &str = "contoso.openai.azure.com";
/// The key of the app `tests`.
pub(crate) const KEY: &str = "cw_lab_key";
/// Words that stand in every prompt of the lab, and nowhere else.
pub(crate) const PROMPT: &str = "the secret recipe of the lab";

pub(crate) const GATEWAY_FOR_CALLERS: Ipv4Addr = Ipv4Addr::new(192, 168, 8, 1);
pub(crate) const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 5);
pub(crate) const OTHER_RESOURCE: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 6);
pub(crate) const HUB_DNS: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 4);
pub(crate) const SECOND_DNS: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 5);
pub(crate) const CORPORATE_DNS: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 53);
pub(crate) const PUBLIC_DNS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);
pub(crate) const PUBLIC_FRONT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
pub(crate) const SOMEBODY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
/// The name in the certificates of the lab's name servers.
const DNS_NAME: &str = "dns.lab.example";
const GPU: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 40);
/// The ends of the breakout's cable, on the premises and on the internet's side.
const BREAKOUT: Ipv4Addr = Ipv4Addr::new(100, 64, 1, 1);
const BEACON: Ipv4Addr = Ipv4Addr::new(100, 64, 1, 2);

/// How long the lab waits for something that ought to happen: far longer than it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The network, for as long as it is held.
pub(crate) struct Lab {
    pub(crate) desk: Space,
    pub(crate) premises: Space,
    pub(crate) hub: Space,
    pub(crate) spoke: Space,
    pub(crate) internet: Space,
    pub(crate) link: Link,
    /// The service behind its private endpoint.
    pub(crate) service: Front,
    /// The same service's public front.
    pub(crate) public: Front,
    /// A resource that is not ours, at a private address.
    pub(crate) other: Front,
    /// Somebody on the internet.
    pub(crate) somebody: Front,
    pub(crate) gpu: Front,
    /// Who issues the service's certificates.
    pub(crate) authority: Authority,
    /// Who issues the gateway's own.
    pub(crate) corporate: Authority,
    names: Vec<(Ipv4Addr, Named)>,
    internet_capture: Capture,
    spoke_capture: Capture,
    folder: TempDir,
}

impl Lab {
    /// Builds it; it takes a few seconds.
    pub(crate) fn build() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let [desk, premises, hub, spoke, internet] = ["desk", "premises", "hub", "spoke", "internet"].map(Space::new);
        let link = Link::between(&premises, &hub);
        cables(&desk, &premises, &hub, &spoke, &internet);
        let (authority, corporate) = (Authority::named("Lab Azure CA"), Authority::named("Lab Corporate CA"));
        let own = Greeting::Tls(certificates::server(&authority.issue(&["*.openai.azure.com"])));
        let foreign = Greeting::Tls(certificates::server(&authority.issue(&["*.openai.azure.com.evil.test"])));
        let at = |address: Ipv4Addr, port| [SocketAddr::from((address, port))];
        let service = Front::at(&spoke, "the private endpoint", &at(ENDPOINT, 443), own.clone());
        let other = Front::at(&spoke, "another resource", &at(OTHER_RESOURCE, 443), foreign.clone());
        let public = Front::at(&internet, "the public front", &at(PUBLIC_FRONT, 443), own);
        public.behave(Manner::Says(403, REFUSAL.to_owned()));
        let somebody = Front::at(&internet, "somebody", &at(SOMEBODY, 443), foreign);
        let gpu = Front::at(&premises, "the GPU", &at(GPU, 8000), Greeting::Plain);
        let (internet_capture, spoke_capture) = (Capture::of(&internet), Capture::of(&spoke));
        let named = |address| (address, Named::at(address, folder.path(), corporate.issue(&[DNS_NAME])));
        let names = [PUBLIC_DNS, HUB_DNS, SECOND_DNS, CORPORATE_DNS].map(named).into_iter().collect();
        let mut lab = Self {
            desk,
            premises,
            hub,
            spoke,
            internet,
            link,
            service,
            public,
            other,
            somebody,
            gpu,
            authority,
            corporate,
            names,
            internet_capture,
            spoke_capture,
            folder,
        };
        for server in [PUBLIC_DNS, HUB_DNS, SECOND_DNS, CORPORATE_DNS] {
            lab.say(server, &usual_views(server));
        }
        lab
    }

    /// Makes a name server say something else, from an empty cache on.
    pub(crate) fn say(&mut self, server: Ipv4Addr, views: &Views) {
        let space = match server {
            PUBLIC_DNS => &self.internet,
            CORPORATE_DNS => &self.premises,
            _ => &self.hub,
        };
        named_at(&mut self.names, server).say(space, views);
    }

    /// Stops a name server.
    pub(crate) fn silence(&mut self, server: Ipv4Addr) {
        let space = if server == CORPORATE_DNS { &self.premises } else { &self.hub };
        named_at(&mut self.names, server).stop(space);
    }

    /// Makes everything usual again. The gateway is not told.
    pub(crate) fn heal(&mut self, changed: &[Ipv4Addr]) {
        for space in [&self.premises, &self.hub, &self.spoke, &self.internet] {
            space.nft("flush ruleset");
        }
        for server in changed {
            self.say(*server, &usual_views(*server));
        }
        self.link.set(Condition::default());
        self.service.behave(Manner::Serves);
        self.service.greet_with(Greeting::Tls(certificates::server(&self.authority.issue(&["*.openai.azure.com"]))));
        self.premises.ip("route replace 10.20.0.0/16 dev er0 src 192.168.0.10");
        self.spoke.ip("route replace default via 10.20.1.1");
    }

    /// Writes a configuration beside its certificates, and gives its path.
    pub(crate) fn configure(&self, settings: &Settings) -> std::path::PathBuf {
        let folder = self.folder.path().join("gateway");
        std::fs::create_dir_all(&folder).expect("a temporary folder can be written");
        let (certificate, key) = self.corporate.issue(&["gateway.corp.example", "192.168.8.1"]);
        for (name, text) in [
            ("gateway.pem", certificate),
            ("gateway.key", key),
            ("lab-ca.pem", self.authority.pem()),
            ("corp-ca.pem", self.corporate.pem()),
            ("upstream.key", "upstream-secret".to_owned()),
        ] {
            std::fs::write(folder.join(name), text).expect("a temporary folder can be written");
        }
        let path = folder.join("causeway.toml");
        std::fs::write(&path, settings.text()).expect("a temporary folder can be written");
        path
    }

    /// Starts the gateway on the premises.
    pub(crate) fn gateway(&self, settings: &Settings) -> Gateway {
        Gateway::start(&self.premises, self.configure(settings), &[])
    }

    /// The service at another address of the spoke, as after its endpoint was made anew.
    pub(crate) fn serve_at(&self, address: Ipv4Addr) -> Front {
        let greeting = Greeting::Tls(certificates::server(&self.authority.issue(&["*.openai.azure.com"])));
        Front::at(&self.spoke, "the private endpoint", &[SocketAddr::from((address, 443))], greeting)
    }

    /// Asks the gateway for a chat, from the desk.
    pub(crate) fn chat(&self, model: &str) -> Answer {
        let trust = self.corporate.client();
        let body = chat(model, false);
        self.desk.block_on(async move { Call::post(trust, body).await.answer().await })
    }

    /// The caller's trust in the gateway.
    pub(crate) fn trust(&self) -> Arc<rustls::ClientConfig> {
        self.corporate.client()
    }

    /// The folder with the gateway's configuration.
    pub(crate) fn folder(&self) -> std::path::PathBuf {
        self.folder.path().join("gateway")
    }

    /// Runs a command of the binary on the premises: its exit code, what it printed, and its errors.
    pub(crate) fn causeway(&self, arguments: &[&str]) -> (i32, String, String) {
        self.premises.command(&gateway::binary(), arguments)
    }

    /// Forgets what was captured.
    pub(crate) fn forget(&self) {
        self.internet_capture.empty();
        self.spoke_capture.empty();
    }

    /// Bytes that went, since [`Self::forget`], to any address that is neither the private endpoint nor a name server;
    /// and how many packets of TCP did, opening ones too.
    ///
    /// `named` is an address that the test's own record names.
    pub(crate) fn strayed(&self, named: Option<Ipv4Addr>) -> (usize, usize) {
        if !self.internet_capture.settle(&self.premises, IpAddr::V4(BEACON)) {
            // Rules on the gateway's machine let nothing out, a marker neither; then it comes from the other end.
            assert!(self.internet_capture.settle(&self.internet, IpAddr::V4(BREAKOUT)));
        }
        let on_internet = |to: SocketAddr| {
            to.ip() != IpAddr::V4(PUBLIC_DNS) && matches!(to.ip(), IpAddr::V4(v4) if v4.octets()[..3] == [203, 0, 113])
        };
        let in_spoke = |to: SocketAddr| {
            to.ip() != IpAddr::V4(ENDPOINT)
                && Some(to.ip()) != named.map(IpAddr::V4)
                && matches!(to.ip(), IpAddr::V4(v4) if v4.octets()[..3] == [10, 20, 1] && v4.octets()[3] > 1)
        };
        let (internet, spoke) = (&self.internet_capture, &self.spoke_capture);
        (
            internet.payload_to(on_internet) + spoke.payload_to(in_spoke),
            internet.tcp_to(on_internet) + spoke.tcp_to(in_spoke),
        )
    }
}

fn named_at(names: &mut [(Ipv4Addr, Named)], server: Ipv4Addr) -> &mut Named {
    let found = names.iter_mut().find(|(address, _)| *address == server);
    &mut found.expect("the lab has a server at this address").1
}

/// A chat that holds [`PROMPT`].
pub(crate) fn chat(model: &str, stream: bool) -> String {
    serde_json::json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": PROMPT}]}).to_string()
}

/// What a name server says on a good day.
pub(crate) fn usual_views(server: Ipv4Addr) -> Views {
    match server {
        PUBLIC_DNS => public_views(),
        CORPORATE_DNS => Views::default().forward("openai.azure.com", HUB_DNS).otherwise(PUBLIC_DNS),
        _ => Views::default().zone("privatelink.openai.azure.com", "contoso 10 IN A 10.20.1.5").otherwise(PUBLIC_DNS),
    }
}

/// The internet's view: the public chain as Microsoft documents it, with its hop at the service's public front.
pub(crate) fn public_views() -> Views {
    Views::default()
        .zone(
            "azure.com",
            "contoso.openai 60 IN CNAME contoso.privatelink.openai.azure.com.\n\
             contoso.privatelink.openai 60 IN CNAME eastus.prod.vnet.cog.trafficmanager.net.\n\
             vnetproxyv1-eus-prod.eastus.cloudapp 60 IN A 203.0.113.10\n",
        )
        .zone(
            "trafficmanager.net",
            "eastus.prod.vnet.cog 30 IN CNAME vnetproxyv1-eus-prod.eastus.cloudapp.azure.com.\n",
        )
        .zone("attacker.test", "gw 1 IN A 10.20.1.6\nreal 1 IN A 10.20.1.5\nweb 1 IN A 203.0.113.66\n")
}

fn cables(desk: &Space, premises: &Space, hub: &Space, spoke: &Space, internet: &Space) {
    for space in [premises, hub, spoke, internet] {
        space.set("net/ipv6/conf/all/disable_ipv6", "1");
    }
    hub.set("net/ipv4/ip_forward", "1");
    // A firewall's refusals come at once, however many there are; Linux sends one a second to each machine.
    hub.set("net/ipv4/icmp_ratelimit", "0");
    premises.cable(("desk0", "192.168.8.1/24"), desk, ("eth0", "192.168.8.10/24"));
    for address in ["192.168.0.10/32", "192.168.0.40/32", "192.168.0.53/32"] {
        premises.ip(&format!("addr add {address} dev lo"));
    }
    premises.ip(&format!("addr add 172.16.0.1 peer 172.16.0.2 dev {DEVICE}"));
    hub.ip(&format!("addr add 172.16.0.2 peer 172.16.0.1 dev {DEVICE}"));
    premises.ip(&format!("link set {DEVICE} up"));
    hub.ip(&format!("link set {DEVICE} up"));
    for address in ["10.10.0.4/32", "10.10.0.5/32", "168.63.129.16/32"] {
        hub.ip(&format!("addr add {address} dev lo"));
    }
    hub.cable(("peer0", "10.20.1.1/24"), spoke, ("eth0", "10.20.1.5/24"));
    spoke.ip("addr add 10.20.1.6/24 dev eth0");
    spoke.ip("route add default via 10.20.1.1");
    hub.cable(("inet0", "100.64.0.1/30"), internet, ("hub0", "100.64.0.2/30"));
    premises.cable(("brk0", "100.64.1.1/30"), internet, ("onp0", "100.64.1.2/30"));
    for address in [PUBLIC_FRONT, PUBLIC_DNS, SOMEBODY] {
        internet.ip(&format!("addr add {address}/32 dev lo"));
    }
    hub.ip(&format!("route add 192.168.0.0/24 dev {DEVICE}"));
    hub.ip("route add 203.0.113.0/24 via 100.64.0.2");
    internet.ip("route add 192.168.0.0/24 via 100.64.1.1");
    premises.ip(&format!("route add 10.10.0.0/16 dev {DEVICE} src 192.168.0.10"));
    premises.ip(&format!("route add 10.20.0.0/16 dev {DEVICE} src 192.168.0.10"));
    premises.ip("route add 203.0.113.0/24 via 100.64.1.2");
}

/// What a configuration of the lab says beyond the usual.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The servers of the resolver, and their port.
    pub(crate) servers: Vec<Ipv4Addr>,
    pub(crate) port: u16,
    /// Further lines of the resolver.
    pub(crate) resolver: String,
    /// Further settings inside `reach.private-link`, such as `expect = [ … ]`, each with its comma in front.
    pub(crate) reach: String,
    /// Further settings inside the endpoint's `tls`, each with its comma in front.
    pub(crate) tls: String,
    /// Further lines of the endpoint.
    pub(crate) lines: String,
}

impl Default for Settings {
    fn default() -> Self {
        let (resolver, reach, tls, lines) = Default::default();
        Self { servers: vec![HUB_DNS], port: 53, resolver, reach, tls, lines }
    }
}

impl Settings {
    pub(crate) fn asking(servers: &[Ipv4Addr]) -> Self {
        Self { servers: servers.to_vec(), ..Self::default() }
    }

    /// The resolver is asked over TLS (853), or over HTTPS (443).
    pub(crate) fn resolving_over(transport: &str) -> Self {
        let port = if transport == "tls" { 853 } else { 443 };
        let resolver = format!("transport = \"{transport}\"\nserver_name = \"{DNS_NAME}\"\nca = \"corp-ca.pem\"");
        Self { port, resolver, ..Self::default() }
    }

    fn text(&self) -> String {
        let Self { servers, port, resolver, reach, tls, lines } = self;
        let servers: Vec<String> = servers.iter().map(|server| format!("\"{server}:{port}\"")).collect();
        let servers = servers.join(", ");
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, KEY.as_bytes());
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            r#"
[listen]
address = "192.168.8.1:8443"
tls     = {{ certificate = "gateway.pem", key = "gateway.key" }}

[admin]
address = "127.0.0.1:9443"

[health]
address = "0.0.0.0:8080"

[state]
folder = "state"

[site.lab]
country = "DE"

[resolver.hub]
zones   = ["openai.azure.com", "privatelink.openai.azure.com"]
servers = [{servers}]
{resolver}

[endpoint.aoai]
provider = "azure-openai"
url      = "https://{HOST}"
reach    = {{ private-link = {{ service = "azure-openai", within = ["10.20.0.0/16"], resolver = "hub"{reach} }} }}
place    = {{ azure = {{ region = "swedencentral", sku = "Standard" }} }}
auth     = {{ key = {{ file = "upstream.key" }} }}
cost     = {{ per_token = {{ input_usd_per_million = 1, output_usd_per_million = 1 }} }}
tls      = {{ ca = "lab-ca.pem"{tls} }}
timeouts = {{ connect_ms = 3000, first_byte_ms = 8000, idle_ms = 3000, total_ms = 30000 }}
{lines}

[endpoint.gpu]
provider = "openai"
url      = "http://192.168.0.40:8000/v1"
reach    = {{ local = {{ within = ["192.168.0.0/24"] }} }}
place    = {{ site = "lab" }}
cost     = {{ per_token = {{ input_usd_per_million = 2, output_usd_per_million = 2 }} }} # So that the private one is asked first.

[model.private]
targets = ["aoai/gpt-4o"]

[model.either]
targets = ["aoai/gpt-4o", "gpu/llama"]

[app.tests]
team   = "testers"
keys   = ["sha256:{digest}"]
models = ["private", "either"]

[policy]
approve = ["aoai"]

[data.tests]
labels = []
"#
        )
    }
}

/// Looks until `look` finds something. For what another process does without telling.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for: {what}");
        #[expect(clippy::disallowed_methods, reason = "the pace of looking at another process; it decides nothing")]
        std::thread::sleep(Duration::from_millis(10));
    }
}
