# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

# lethe's adapter for Ruby: Rack::Session::Pool keeps its sessions in lethe's state API (modules/state_api/openapi.yaml) instead of
# a Hash of this process. It is loaded by the environment alone: RUBYOPT="$RUBYOPT -r/opt/lethe/adapters/ruby/lethe.rb". What it costs and cannot
# do stands in docs/stacks/rack.md.
module Lethe
  # Nobody knows whether the session exists, or it cannot be kept. It is raised, never a session that is not there: Rack makes a 5xx of it.
  class Error < StandardError; end

  ADDRESS = ENV['LETHE_STATE_API_LISTEN'].to_s
  TIMEOUT = 5 # seconds that one exchange may take
  # Marshal builds any object, so nothing is loaded that this adapter has not written. lethe has opened the blob with AES-GCM before.
  HEADER = "lethe-ruby-marshal-1\n".b.freeze
  SEEN = 'lethe.session' # in Rack's environment: the id and the blob that this request has read

  # One kept connection to lethe. Whoever uses it has it alone.
  class Connection
    def initialize
      path = ADDRESS[/\Aunix:(.+)/, 1]
      host, port = path ? nil : ADDRESS.match(/\A\[?(.+?)\]?:(\d+)\z/)&.captures
      raise Error, "LETHE_STATE_API_LISTEN is #{ADDRESS.inspect}; write unix:/path or 127.0.0.1:port" unless path || host
      @socket = (path ? Addrinfo.unix(path) : Addrinfo.tcp(host, port)).connect(timeout: TIMEOUT)
      @input = String.new
    end

    # An idle connection has nothing to read but its end.
    def ended?
      @socket.wait_readable(0)
    end

    def close
      @socket.close
    end

    # [status, its headers with small names, the body, whether the connection can be kept].
    def exchange(request)
      @deadline = now + TIMEOUT
      send_all(request)
      fill until (head_end = @input.index("\r\n\r\n"))
      first, *lines = @input.slice!(0, head_end + 4).split("\r\n")
      headers = lines.to_h { |line| line.split(/:\s*/, 2).then { |name, value| [name.downcase, value] } }
      status = first[%r{\AHTTP/1\.1 (\d{3})}, 1] or raise IOError, 'that is not lethe'
      length = status == '204' ? 0 : Integer(headers.fetch('content-length'), 10)
      fill until @input.bytesize >= length
      [status.to_i, headers, @input.slice!(0, length), headers['connection'] != 'close']
    end

    private

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    # Ruby's blocking reads know no time-out before 3.2.
    def wait(how)
      left = @deadline - now
      left.positive? && @socket.public_send(how, left) or raise IOError, "no answer in #{TIMEOUT} s"
    end

    def send_all(bytes)
      until bytes.empty?
        sent = @socket.write_nonblock(bytes, exception: false)
        sent == :wait_writable ? wait(:wait_writable) : bytes = bytes.byteslice(sent..-1)
      end
    end

    def fill
      got = @socket.read_nonblock(65_536, exception: false)
      return wait(:wait_readable) if got == :wait_readable
      raise EOFError, 'lethe has closed the connection' unless got
      @input << got
    end
  end

  @mutex = Mutex.new
  @idle, @owner, @unsaid, @said = [], Process.pid, [], {}

  class << self
    # A blob, or nil where there is no such session (any more).
    def read(id)
      status, headers, body = call('GET', id)
      return nil if [404, 410].include?(status)
      status == 200 ? body : refuse('read', status, headers, body)
    end

    # false: somebody has deleted the session meanwhile, the write is dropped.
    def write(id, blob)
      status, headers, body = call('PUT', id, blob)
      status == 204 || (status == 410 ? false : refuse('write', status, headers, body))
    end

    def delete(id)
      status, headers, body = call('DELETE', id)
      status == 204 || refuse('delete', status, headers, body)
    end

    def dump(session)
      HEADER + Marshal.dump(session)
    rescue TypeError => e
      key, = session.find { |_, value| !Marshal.dump(value) rescue true } # rubocop:disable Style/RescueModifier
      raise Error, "lethe: session[#{key.inspect}] cannot leave this process: #{e.message}"
    end

    def load(blob)
      raise Error, 'lethe: this session was written by another adapter, or another version of it' unless blob.start_with?(HEADER)
      Marshal.load(blob.byteslice(HEADER.bytesize..-1)) # rubocop:disable Security/MarshalLoad
    end

    # Once for each store: to stderr, and to lethe as soon as it can be reached.
    def say(store, status, detail)
      return if @mutex.synchronize { @said.key?(store) || !(@said[store] = true) }
      $stderr.write("lethe: ruby: #{status} #{store}: #{detail}\n")
      return if ADDRESS.empty?
      report = "Lethe-Store: #{store}\r\nLethe-Status: #{status}\r\nLethe-Detail: #{detail.tr("^ -~", '?')}\r\n"
      @mutex.synchronize { @unsaid << report }
      say_again
    rescue SystemCallError, IOError, SocketError, Error
      nil # lethe may start after the application: the next session call says it
    end

    private

    def call(method, id, body = '')
      path = "/v1/sessions/#{id.b.gsub(/[^A-Za-z0-9_.~-]/n) { |c| format('%%%02X', c.ord) }}"
      say_again
      with_connection { |connection| connection.exchange(request(method, path, '', body)) }
    rescue SystemCallError, IOError, SocketError, KeyError, ArgumentError => e
      raise Error, "lethe: its state API at #{ADDRESS} does not answer: #{e.message}"
    end

    def request(method, path, headers, body = '')
      "#{method} #{path} HTTP/1.1\r\nHost: lethe\r\n#{headers}Content-Length: #{body.bytesize}\r\n\r\n".b << body
    end

    # Takes an idle connection or makes one, and keeps it if all went well: a thread that is killed in between leaves no half answer behind.
    # Every call can be repeated, so a kept one that lethe has just closed (a restart) costs a second try.
    def with_connection
      reused = take
      connection = reused || Connection.new
      answer = yield(connection)
    rescue EOFError, Errno::EPIPE, Errno::ECONNRESET
      raise unless reused
      connection.close
      retry
    ensure
      answer&.last ? @mutex.synchronize { @idle << connection } : connection&.close
    end

    def take
      @mutex.synchronize do
        @idle, @owner = [], Process.pid if @owner != Process.pid # after a fork they are the parent's
        while (connection = @idle.pop)
          return connection unless connection.ended?
          connection.close
        end
      end
    end

    def say_again
      while (report = @unsaid.first)
        with_connection { |connection| connection.exchange(request('POST', '/v1/adapters/ruby', report)) }
        @mutex.synchronize { @unsaid.delete(report) }
      end
    end

    def refuse(what, status, headers, body)
      raise Error, "lethe: cannot #{what} the session: #{status} #{headers['x-lethe-error']}: #{body.strip}"
    end
  end

  # What Rack::Session::Pool does, with the sessions elsewhere. The key is the public id: it is the cookie's value, so lethe can tell whose
  # session it is. Rack's private id is a hash that keeps ids from being read out of the store; lethe's own keyed hash does that here.
  module Pool
    def find_session(req, sid)
      id = Lethe::Pool.id(sid)
      blob = Lethe.read(id) if id.bytesize.between?(1, 512)
      return [generate_sid, {}] unless blob # the pool takes over no id that it does not know
      req.set_header(SEEN, [id, blob])
      [sid, Lethe.load(blob)]
    end

    def write_session(req, sid, session, _options)
      written = [Lethe::Pool.id(sid), Lethe.dump(session)]
      return sid if req.get_header(SEEN) == written # nothing has changed, and reading it has slid its time
      Lethe.write(*written) ? sid : false
    end

    def delete_session(_req, sid, options)
      Lethe.delete(Lethe::Pool.id(sid))
      generate_sid unless options[:drop]
    end

    def self.id(sid)
      sid.respond_to?(:public_id) ? sid.public_id : sid.to_s
    end
  end

  # Tells of each store that the application really makes and that lethe does not carry.
  module Watch
    def initialize(*)
      super
      overridden = %i[find_session write_session delete_session].find { |name| method(name).owner != Lethe::Pool }
      return unless overridden
      why = is_a?(Lethe::Pool) ? "has its own #{overridden}" : 'is not Rack::Session::Pool'
      Lethe.say(self.class.name || self.class.inspect, 'failed', "it #{why}, so lethe does not carry its sessions")
    end
  end

  HOOKS = {
    'Rack::Session::Abstract::Persisted' => ->(persisted) { persisted.prepend(Watch) unless ADDRESS.empty? },
    'Rack::Session::Pool' => lambda do |pool|
      strange = { find_session: 2, write_session: 4, delete_session: 3, generate_sid: nil }.find do |name, arity|
        !pool.method_defined?(name) || (arity && pool.instance_method(name).arity != arity)
      end
      if ADDRESS.empty?
        say(pool.name, 'failed', 'LETHE_STATE_API_LISTEN is not set; give the application the same value as lethe')
      elsif strange
        say(pool.name, 'failed', "its #{strange[0]} is not that of Rack 2 or rack-session 2; sessions stay in this process")
      else
        pool.prepend(Pool)
        say(pool.name, 'hooked', "its sessions are kept by lethe at #{ADDRESS}")
      end
    end
  }.freeze

  # Called when the body of a class has ended, with all its methods there.
  def self.completed(a_class)
    name = Module.instance_method(:name).bind(a_class).call
    return unless HOOKS.key?(name) && !@said.key?(name)
    require 'socket'
    HOOKS[name].call(a_class)
    @trace&.disable if name == 'Rack::Session::Pool'
  end

  loaded = HOOKS.keys.select do |name| # without waking an autoload
    name.split('::').inject(Object) { |at, c| at && at.const_defined?(c) && !at.autoload?(c) && at.const_get(c) }
  end
  @trace = TracePoint.new(:end) { |event| completed(event.self) } unless loaded.include?('Rack::Session::Pool')
  loaded.each { |name| completed(Object.const_get(name)) }
  @trace&.enable
end
