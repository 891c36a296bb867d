@echo off
rem The command line of an installed Condenser.
"%~dp0..\runtime\node.exe" "%~dp0..\app.asar.unpacked\out\worker\cli.js" %*
