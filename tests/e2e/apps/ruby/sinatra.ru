# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

# An ordinary Sinatra application with its sessions in memory, as Rack's documentation shows it. The contract of its pages stands in
# tests/e2e/stack_rig.py.
require 'digest'
require 'json'
require 'sinatra/base'

class Counter < Sinatra::Base
  use Rack::Session::Pool

  configure do
    set :environment, :production
    set :dump_errors, true
  end

  helpers do
    def sent_id
      request.cookies['rack.session']
    end

    def fields
      JSON.generate(n: session[:n] || 0, id: session.id&.public_id, sent_id: sent_id, name: session[:name], replica: ENV['REPLICA'])
    end

    def wait_at_gate
      File.open(params[:gate], &:gets) if params[:gate]
      sleep(params[:hold].to_f) if params[:hold]
    end
  end

  before { content_type :json }

  get '/count' do
    session[:n] # Rack loads a session when it is first asked for something
    wait_at_gate
    session[:n] = (session[:n] || 0) + 1
    fields
  end

  get '/me' do
    session[:n]
    wait_at_gate
    fields
  end

  get('/anonymous') { JSON.generate(replica: ENV['REPLICA']) }

  post '/login' do
    request.session_options[:renew] = true
    session[:name] = params[:name]
    redirect to('/me')
  end

  post '/logout' do
    session.destroy
    JSON.generate(ok: true)
  end

  get '/stream' do
    session[:n] = (session[:n] || 0) + 1
    stream do |out|
      out << '{"first":"' << ('x' * 20_000) << '",'
      out << '"rest":"' << ('y' * 20_000) << '"}'
    end
  end

  post '/big' do
    session[:big] = 'b' * params[:size].to_i
    JSON.generate(ok: true)
  end

  get '/big' do
    big = session[:big] || ''
    JSON.generate(length: big.bytesize, sha256: Digest::SHA256.hexdigest(big))
  end
end

run Counter
