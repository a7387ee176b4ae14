# SPDX-License-Identifier: Apache-2.0
"""Tomcat, a JSP application; PersistentManager keeps the sessions in files."""
import os

from stack_rig import APPS, Stack
from tomcat_rig import Tomcat


class TomcatStack(Stack):
    name, carrier, packages = "tomcat", "files", ("tomcat10",)
    lethe = {"files.profile": "tomcat"}

    def server(self, index, directory, port, state):
        return Tomcat(directory, port, {"ROOT.xml": f'<Context docBase="{os.path.join(APPS, "tomcat")}" />'}, index)


STACKS = [TomcatStack()]
