# SPDX-License-Identifier: Apache-2.0
"""What is measured: the cases, and the bytes of their requests. Load generators send these bytes as they stand."""
import dataclasses

CONNECTIONS = 32
MB = 1 << 20

# What a browser sends: 16 fields with Host and Cookie, in one order.
BROWSER = (
    ("Connection", "keep-alive"),
    ("Cache-Control", "max-age=0"),
    ("sec-ch-ua", '"Not_A Brand";v="8", "Chromium";v="120", "Google Chrome";v="120"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("Upgrade-Insecure-Requests", "1"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Referer", "https://shop.example.com/app/orders"),
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
)

# Six cookies; the one in the middle is the session's where there is one.
COOKIES = "theme=dark; lang=en-GB; _ga=GA1.2.1234567890.1700000000; {}; _gid=GA1.2.987654321.1700000000; consent=necessary.analytics"
VISITOR = "visitor=q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA"


@dataclasses.dataclass(frozen=True)
class Case:
    key: str
    title: str
    group: str             # which programs take part (run.py)
    path: str
    answer: int            # bytes of body
    part: int = 0          # of the goals
    method: str = "GET"
    body: int = 0
    browser: bool = False  # all of BROWSER and six cookies
    session: bool = False  # the client is logged in
    close: bool = False    # a connection a request
    logs: bool = False
    connections: int = CONNECTIONS
    threads: int = 1       # of the load generator
    rate: float = 0        # requests a second, whatever the program does; 0: as many as it takes
    unit: str = "request"  # what CPU time is divided by; "GB" of bodies otherwise

    @property
    def per(self):
        return "s/GB" if self.unit == "GB" else "µs a request"

    def size(self):
        """Bytes of body that one request moves."""
        return self.answer if self.method == "GET" else self.body

    def request(self, port, cookie=""):
        """The bytes that a client sends. `cookie`: the session's, where there is one."""
        fields = [("Host", "shop.example.com" if self.browser else f"127.0.0.1:{port}")]
        if self.browser:
            fields += [*BROWSER, ("Cookie", COOKIES.format(cookie if self.session else VISITOR))]
        elif self.session:
            fields.append(("Cookie", cookie))
        if self.close:
            fields.append(("Connection", "close"))
        if self.body:
            fields.append(("Content-Length", str(self.body)))
        head = f"{self.method} {self.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
        return head.encode() + b"b" * self.body


CASES = (
    Case("get", "GET, 200 B, no session", "plain", "/200", 200, part=1),
    Case("browser", "GET, 1 KB, 16 request headers and 6 cookies, no session", "plain", "/1k", 1024, part=1, browser=True),
    Case("session", "The same in a session", "session", "/private", 1024, part=2, browser=True, session=True),
    Case("large", "GET, 64 KB", "bulk", "/64k", 65536, part=3),
    Case("down", "GET, 10 MB", "bulk", "/10m", 10 * MB, part=3, connections=4, unit="GB"),
    Case("up", "POST, 10 MB", "bulk", "/post", 9, part=3, method="POST", body=10 * MB, connections=4, unit="GB"),
    Case("connect", "GET, 200 B, a connection a request", "keeping", "/200", 200, part=3, close=True),
    Case("two", "GET, 200 B, two workers, as many as they take", "two", "/200", 200, part=3, connections=64, threads=2),
    Case("load", "GET, 200 B, two workers, at 70 % of the better peer's rate", "two", "/200", 200, part=3, connections=64, rate=1),
    Case("crowd", "GET, 200 B, 100 active connections, alone and beside 9,900 idle ones", "crowd", "/200", 200, part=4, connections=100),
    Case("slow", "GET, 1 KB, 16 request headers and 6 cookies, 500 a second", "slow", "/1k", 1024, part=6, browser=True, rate=500,
         connections=16),
    Case("log", "GET, 200 B, access log on", "logging", "/200", 200, logs=True),
)
BY_KEY = {case.key: case for case in CASES}
