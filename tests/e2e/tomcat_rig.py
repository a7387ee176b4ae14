# SPDX-License-Identifier: Apache-2.0
"""Tomcat as the tests start it: Debian's tomcat10 with a CATALINA_BASE of its own, and adapters/tomcat/context.xml for its sessions."""
import os
import shutil

from stack_rig import AppServer

from rig.lethe import ROOT

HOME, ETC = "/usr/share/tomcat10", "/etc/tomcat10"
FRAGMENT = os.path.join(ROOT, "adapters", "tomcat", "context.xml")
# Small and quick to start; nothing of it changes what a session is.
JVM = ["-Xmx160m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true"]

SERVER = """<Server port="-1">
  <GlobalNamingResources>
    <Resource name="UserDatabase" auth="Container" type="org.apache.catalina.UserDatabase"
              factory="org.apache.catalina.users.MemoryUserDatabaseFactory" pathname="conf/tomcat-users.xml" />
  </GlobalNamingResources>
  <Service name="Catalina">
    <Connector address="127.0.0.1" port="{port}" protocol="HTTP/1.1" />
    <Engine name="Catalina" defaultHost="localhost">
      <Realm className="org.apache.catalina.realm.UserDatabaseRealm" resourceName="UserDatabase" />
      <Host name="localhost" appBase="webapps" autoDeploy="false" />
    </Engine>
  </Service>
</Server>
"""


class Tomcat(AppServer):
    """A Tomcat below `base`. `applications`: what conf/Catalina/localhost holds, {"ROOT.xml": "<Context docBase=…/>"}. fragment=False
    leaves Tomcat's own context.xml: sessions in memory. `users`: {name: (password, roles)}."""

    def __init__(self, base, port, applications, index=0, fragment=True, users=None):
        self.base = str(base)
        conf = os.path.join(self.base, "conf")
        for name in ("conf/Catalina/localhost", "logs", "temp", "webapps", "work", "sessions"):
            os.makedirs(os.path.join(self.base, name), exist_ok=True)
        shutil.copy(os.path.join(ETC, "web.xml"), conf)
        shutil.copy(FRAGMENT if fragment else os.path.join(ETC, "context.xml"), os.path.join(conf, "context.xml"))
        shutil.copy(os.path.join(HOME, "etc", "catalina.properties"), conf)
        self._write("conf/server.xml", SERVER.format(port=port))
        rows = "".join(f'<user username="{name}" password="{password}" roles="{roles}"/>'
                       for name, (password, roles) in (users or {}).items())
        self._write("conf/tomcat-users.xml", f'<tomcat-users xmlns="http://tomcat.apache.org/xml">{rows}</tomcat-users>')
        for name, text in applications.items():
            self._write(f"conf/Catalina/localhost/{name}", text)
        classes = ":".join(os.path.join(HOME, "bin", jar) for jar in ("bootstrap.jar", "tomcat-juli.jar"))
        super().__init__(port, ["java", *JVM, f"-Dcatalina.home={HOME}", f"-Dcatalina.base={self.base}",
                                f"-Djava.io.tmpdir={self.base}/temp", "-classpath", classes, "org.apache.catalina.startup.Bootstrap", "start"],
                         {"REPLICA": str(index)}, start_seconds=60)

    def _write(self, name, text):
        with open(os.path.join(self.base, name), "w", encoding="utf-8") as f:
            f.write(text)

    def files(self):
        return sorted(os.listdir(os.path.join(self.base, "sessions")))
