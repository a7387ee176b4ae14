{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{- define "lethe.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lethe.adapter" -}}
{{- if eq . "node" }}
- {name: NODE_OPTIONS, value: "--require=/opt/lethe/adapters/node/lethe.cjs"}
{{- else if eq . "python" }}
- {name: PYTHONPATH, value: /opt/lethe/adapters/python}
{{- else if eq . "ruby" }}
- {name: RUBYOPT, value: "-r/opt/lethe/adapters/ruby/lethe.rb"}
{{- else if eq . "perl" }}
- {name: PERL5LIB, value: /opt/lethe/adapters/perl}
- {name: PERL5OPT, value: "-MLetheState"}
{{- else }}
{{- fail "stateApi.runtime: write node, python, ruby or perl beside stateApi.profile" }}
{{- end }}
{{- end }}

{{- define "lethe.closed" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end }}

{{- define "lethe.container" -}}
- name: lethe
  image: {{ .Values.lethe.image | quote }}
  {{- if .Values.nativeSidecar }}
  restartPolicy: Always
  {{- else }}
  lifecycle: {preStop: {exec: {command: [sleep, "5"]}}}
  {{- end }}
  args: [run, -c, /etc/lethe/lethe.conf]
  env:
    # The image's own is 127.0.0.1, and the environment counts more than the file.
    - {name: LETHE_ADMIN, value: "0.0.0.0:9090"}
    - name: LETHE_STORE
      valueFrom: {secretKeyRef: {name: {{ .Values.secrets.store }}, key: url}}
    {{- range $name, $value := .Values.lethe.options }}
    - {name: {{ $name }}, value: {{ $value | quote }}}
    {{- end }}
  ports:
    - {name: http, containerPort: 8080}
    - {name: admin, containerPort: 9090}
  startupProbe:
    httpGet: {path: /startupz, port: admin}
    periodSeconds: 1
    failureThreshold: 30
  livenessProbe:
    httpGet: {path: /livez, port: admin}
    periodSeconds: 10
    timeoutSeconds: 2
  readinessProbe:
    httpGet: {path: /readyz, port: admin}
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: 1
  resources: {{- toYaml .Values.lethe.resources | nindent 4 }}
  securityContext:
    {{- $user := ternary .Values.app.runAsUser .Values.lethe.runAsUser (ne .Values.files.profile "") }}
    runAsUser: {{ $user }}
    runAsGroup: {{ $user }}
    readOnlyRootFilesystem: true
    {{- include "lethe.closed" . | nindent 4 }}
  volumeMounts:
    - {name: lethe-config, mountPath: /etc/lethe/lethe.conf, subPath: lethe.conf, readOnly: true}
    - {name: lethe-keys, mountPath: /etc/lethe/keys, readOnly: true}
    {{- if .Values.files.profile }}
    - {name: sessions, mountPath: {{ .Values.files.dir }}}
    {{- end }}
    {{- if .Values.stateApi.profile }}
    - {name: lethe-run, mountPath: /run/lethe}
    {{- end }}
{{- end }}
