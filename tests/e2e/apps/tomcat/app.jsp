<%-- SPDX-License-Identifier: Apache-2.0 --%><%--
The contract's pages (stack_rig.py) as an ordinary web application whose sessions are the container's. It knows nothing of lethe.
--%><%@ page session="false" contentType="application/json" pageEncoding="UTF-8" trimDirectiveWhitespaces="true"
    import="java.io.*, java.nio.charset.StandardCharsets, java.security.MessageDigest, java.util.HexFormat" %><%!

private static int number(HttpSession session) {
    Object n = session.getAttribute("n");
    return n == null ? 0 : (Integer) n;
}

private static String quoted(Object text) {
    return text == null ? "null" : "\"" + text.toString().replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
}

// A slow request: waits until the test opens the fifo.
private static void gate(HttpServletRequest request) throws IOException {
    if (request.getParameter("gate") != null) {
        try (BufferedReader fifo = new BufferedReader(new FileReader(request.getParameter("gate")))) {
            fifo.readLine();
        }
    }
}

private static String sentId(HttpServletRequest request) {
    return request.isRequestedSessionIdFromCookie() ? request.getRequestedSessionId() : null;
}

private static String report(HttpServletRequest request, HttpSession session) {
    return "{\"n\":" + number(session) + ",\"id\":" + quoted(session.getId()) + ",\"sent_id\":" + quoted(sentId(request))
        + ",\"name\":" + quoted(session.getAttribute("name")) + ",\"replica\":" + quoted(System.getenv("REPLICA")) + "}";
}

private static String big(HttpSession session) throws Exception {
    byte[] text = String.valueOf(session.getAttribute("big") == null ? "" : session.getAttribute("big")).getBytes(StandardCharsets.UTF_8);
    String sha256 = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(text));
    return "{\"length\":" + text.length + ",\"sha256\":" + quoted(sha256) + "}";
}
%><%
String page_ = request.getServletPath();
if (page_.equals("/anonymous")) {
    out.print("{\"replica\":" + quoted(System.getenv("REPLICA")) + "}");
    return;
}
HttpSession session = request.getSession();
switch (page_) {
case "/count": {
    int n = number(session) + 1;
    gate(request);
    if (request.getParameter("hold") != null) {
        Thread.sleep((long) (1000 * Double.parseDouble(request.getParameter("hold"))));
    }
    session.setAttribute("n", n);
    out.print(report(request, session));
    break;
}
case "/me":
    gate(request);
    out.print(report(request, session));
    break;
case "/login":
    request.changeSessionId();
    session.setAttribute("name", request.getParameter("name"));
    response.sendRedirect(request.getContextPath() + "/me");
    break;
case "/logout":
    session.invalidate();
    out.print("{\"ok\":true}");
    break;
case "/stream":
    session.setAttribute("n", number(session) + 1);
    for (int i = 0; i < 5; i++) {
        out.print(String.valueOf((char) ('a' + i)).repeat(10000) + "\n");
        out.flush();
    }
    break;
case "/big":
    if (request.getMethod().equals("POST")) {
        int size = Integer.parseInt(request.getParameter("size"));
        StringBuilder text = new StringBuilder(size);
        java.util.Random random = new java.util.Random(size);
        while (text.length() < size) {
            text.append((char) ('!' + random.nextInt(90)));
        }
        session.setAttribute("big", text.toString());
    }
    out.print(big(session));
    break;
default:
    response.sendError(404);
}
%>
